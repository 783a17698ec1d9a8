# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Label one study of a MONAI Label server by REST, and receive the masks of the others: what a viewer does, in Python.

    python examples/label_client.py http://127.0.0.1:8000 case_01 LABEL.nii.gz liver=1,spleen=4 OUTPUT [SETTINGS]

The server runs the app of `monai-fss label-app` (see docs/monai_label.md). This sends the label of the study with the
names of its values, asks the model "atlas" for every study without a final label, writes OUTPUT/<study>.nii.gz and
prints volume and quality of each organ. SETTINGS are the method's, as of `monai-fss segment --set`, with commas
between; without them preset=fast. Python's own library is all that it needs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from uuid import uuid4


def call(
    method: str,
    url: str,
    query: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    file: tuple[str, Path] | None = None,
) -> tuple[Any, bytes]:
    """
    Send a request.

    Args:
        method: "GET", "POST" or "PUT".
        url: of the server with the path.
        query: what stands in the address.
        params: form field "params", as JSON. Default: no form is sent.
        file: form field and file that are sent along.

    Returns:
        the JSON of the answer, and the file that came with it (empty where there is none).

    Raises:
        SystemExit: the server refuses, with its sentence.
    """
    mark = uuid4().hex
    parts = [('name="params"', json.dumps(dict(params or {})).encode())]
    if file is not None:
        parts.append((f'name="{file[0]}"; filename="{file[1].name}"', file[1].read_bytes()))
    body = b"".join(
        f"--{mark}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts
    )
    request = Request(f"{url}?{urlencode(query or {})}", method=method)
    if method != "GET":
        request.data = body + f"--{mark}--\r\n".encode()
        request.add_header("Content-Type", f"multipart/form-data; boundary={mark}")
    try:
        with urlopen(request) as answer:
            kind, content = answer.headers["Content-Type"], answer.read()
    except HTTPError as error:
        sys.exit(f"{url}: {error.code}: {json.loads(error.read()).get('detail')}")
    if not kind.startswith("multipart/"):
        return json.loads(content), b""
    message: Any = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + content)
    found = {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}
    return json.loads(found["params"].get_payload()), found["image"].get_payload(decode=True)


def main(server: str, study: str, label: str, names: str, output: str, settings: str = "preset=fast") -> None:
    """Send a label, receive masks, print a table."""
    listed = [
        {"name": name, "idx": int(value)} for name, _, value in (pair.partition("=") for pair in names.split(","))
    ]
    saved, _ = call(
        "PUT",
        f"{server}/datastore/label",
        {"image": study, "tag": "final"},
        {"label_info": listed},
        ("label", Path(label)),
    )
    if saved["problems"]:
        sys.exit("\n".join(saved["problems"]))
    studies, _ = call("GET", f"{server}/datastore/", {"output": "all"})
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{'study':20} {'organ':16} {'ml':>8} {'quality':>8}")
    for name in sorted(name for name, known in studies["objects"].items() if "final" not in known["labels"]):
        told, mask = call("POST", f"{server}/infer/atlas", {"image": name, "output": "all"}, {"set": settings})
        (folder / f"{name}.nii.gz").write_bytes(mask)
        for organ in told["organs"]:
            note = f"  {organ['note']}" if organ["note"] else ""
            print(f"{name:20} {organ['name']:16} {organ['volume_ml']:8.1f} {organ['quality']:8.2f}{note}")


if __name__ == "__main__":
    main(*sys.argv[1:])
