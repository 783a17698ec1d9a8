// A Nextflow module: meta and image in; mask, table and versions out.
//
//   include { MONAI_FSS_SEGMENT } from './monai_fss_segment'
//   MONAI_FSS_SEGMENT(images, [file('image.nii.gz'), file('label.nii.gz')])
process MONAI_FSS_SEGMENT {
    tag "${meta.id}"
    label 'process_medium'
    container 'monai_fss'

    input:
    tuple val(meta), path(image, stageAs: 'scan/*')
    tuple path(support_image, stageAs: 'support/*'), path(support_label, stageAs: 'support_label/*')

    output:
    tuple val(meta), path("masks/*.nii.gz"), emit: mask
    tuple val(meta), path("masks/quality.csv"), emit: table
    path "versions.yml", emit: versions

    when:
    task.ext.when == null || task.ext.when

    script: // Nextflow escapes what is special in names of files
    def args = task.ext.args ?: ''
    """
    export OMP_NUM_THREADS=${task.cpus}
    monai-fss segment --quiet --images ${image} --output masks --cache-size 0 \\
        --support-image ${support_image} --support-label ${support_label} ${args}

    printf '"%s":\\n    monai-fss: %s\\n' '${task.process}' "\$(monai-fss --version | cut -d' ' -f2)" > versions.yml
    """

    stub:
    """
    mkdir masks && touch masks/${meta.id}.nii.gz masks/quality.csv versions.yml
    """
}
