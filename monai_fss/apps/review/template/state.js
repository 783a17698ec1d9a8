// Copyright (c) monai_fss contributors. Licensed under the Apache License, Version 2.0: see LICENSE.
"use strict";

// What the page shows, and the verdicts: kept in the browser under the run's number, by what each mask holds.
const content = JSON.parse(document.getElementById("content").textContent);
const VERDICTS = ["pass", "fail", "fix"];
const STORE = "monai-fss review ";
const runs = [content.run, ...content.earlier];
const judged = content.items.filter((item) => item.mask !== null);
const known = new Set(judged.map((item) => item.mask));

function stored(name) {
  try {
    const value = JSON.parse(localStorage.getItem(STORE + name));
    return value && typeof value === "object" ? value : {};
  } catch (error) {
    say(`This browser keeps nothing (${error.message}): export before you close the page.`);
    return {};
  }
}

function store(name, value) {
  try {
    localStorage.setItem(STORE + name, JSON.stringify(value));
  } catch (error) {
    say(`This browser cannot keep the verdicts (${error.message}): export before you close the page.`);
  }
}

function say(text) {
  document.getElementById("status").textContent = text;
}

// Verdicts under earlier numbers of the run count where the mask is still the same.
const verdicts = Object.assign({}, ...[...runs].reverse().map(stored));

function verdictOf(item) {
  const verdict = item.mask === null ? undefined : verdicts[item.mask];
  return VERDICTS.includes(verdict) ? verdict : "";
}

function setVerdict(item, verdict) {
  Object.assign(verdicts, stored(content.run)); // of another window of this page
  if (verdict) verdicts[item.mask] = verdict;
  else verdicts[item.mask] = "";
  store(content.run, verdicts);
}

function reviewText() {
  const given = judged.filter(verdictOf).map((item) => ({
    case: content.cases[item.case].name, label: item.label, mask: item.mask, verdict: verdictOf(item),
  }));
  const review = { schema: content.schema, run: content.run, exported: new Date().toISOString(), verdicts: given };
  return JSON.stringify(review, null, 1) + "\n";
}

// Take the verdicts of a review.json; an error says why not.
function takeReview(text) {
  const review = JSON.parse(text);
  if (!review || review.schema !== content.schema) throw new Error(`is no file of "${content.schema}"`);
  if (!runs.includes(review.run)) throw new Error(`is of another run (${review.run}), not of ${content.run}`);
  const right = (entry) => entry && typeof entry.mask === "string" && VERDICTS.includes(entry.verdict);
  if (!Array.isArray(review.verdicts) || !review.verdicts.every(right)) throw new Error("has damaged verdicts");
  const usable = review.verdicts.filter((entry) => known.has(entry.mask));
  Object.assign(verdicts, stored(content.run));
  for (const entry of usable) verdicts[entry.mask] = entry.verdict;
  store(content.run, verdicts);
  return [usable.length, review.verdicts.length - usable.length];
}
