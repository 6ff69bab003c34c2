"""How is every question put into words? Several ways each; {thing} is what is asked about."""

MODALITY = (
    "which imaging modality was used to take this image?",
    "what type of medical image is this?",
    "how was this image acquired?",
    "what imaging technique is shown here?",
)
IS_MODALITY = (
    "was this image taken by {thing}?",
    "is {thing} the imaging modality shown here?",
    "does this image come from {thing}?",
)
VIEW = (
    "what view of ct is seen?",
    "in which plane was this ct slice taken?",
    "which anatomical plane does this ct image show?",
)
ANATOMY = (
    "which part of the body does this image show?",
    "what anatomical region is imaged here?",
    "which organ or body part is examined in this image?",
)
IS_ANATOMY = (
    "does this image show the {thing}?",
    "is the {thing} examined in this image?",
    "is the {thing} the region that is imaged here?",
)
ORGAN = (
    "which organ is in the centre of this ct image?",
    "what organ does this ct slice show?",
    "name the anatomical structure seen in this ct image.",
)
DIAGNOSIS = (
    "what is the specific diagnosis for the {thing} in this image?",
    "which disease does this image of the {thing} show?",
    "what is the most likely diagnosis for this {thing}?",
    "what abnormality of the {thing} is seen in this image?",
)
HAS_FINDING = (
    "does this image show {thing}?",
    "is there evidence of {thing} in this image?",
    "is {thing} present in this image?",
)
IS_ABNORMAL = (
    "is there any abnormality in this image of the {thing}?",
    "does this image show any disease of the {thing}?",
    "is anything abnormal about the {thing} in this image?",
)
MALIGNANCY = (
    "does this image show malignancy?",
    "is the lesion in this image malignant?",
    "are there signs of cancer in this image?",
)
BENIGN_OR_MALIGNANT = (
    "is the finding in this breast ultrasound malignant or benign?",
    "how would you classify this breast, malignant or normal and benign?",
    "what is the diagnosis for the breast in this ultrasound image?",
)
GRADE = (
    "what is the grade of diabetic retinopathy in this fundus image?",
    "how severe is the diabetic retinopathy, from grade 0 to grade 4?",
    "which grade would you give the diabetic retinopathy seen here?",
)
GRADE_AT_LEAST = (
    "is the diabetic retinopathy of {thing} or higher?",
    "would you grade this diabetic retinopathy as {thing} or worse?",
    "does the diabetic retinopathy reach {thing}?",
)
TISSUE = (
    "what kind of tissue is shown in this colon histology patch?",
    "which tissue class does this image show?",
    "identify the tissue in this histopathology image.",
)
IS_TISSUE = (
    "is {thing} shown in this histology patch?",
    "does this patch consist of {thing}?",
    "would you call this tissue {thing}?",
)
KIDNEY_CELL = (
    "which kind of kidney cortex cell is shown?",
    "what structure of the kidney cortex does this cell belong to?",
    "identify the cell in this image of the kidney cortex.",
)
IS_KIDNEY_CELL = (
    "does this cell belong to {thing}?",
    "is this image one of {thing}?",
    "would you identify this as {thing}?",
)
COMPARTMENT = (
    "in which compartment of the kidney cortex does this cell lie?",
    "where in the kidney cortex is this cell found?",
    "is this cell part of a tubule, a glomerulus or the interstitium?",
)
LINEAGE = (
    "what is the lineage of this cell?",
    "is this cell epithelial, endothelial or immune?",
    "to which lineage does the cell in this image belong?",
)
BLOOD_CELL = (
    "what type of blood cell is shown?",
    "which blood cell is in the centre of this smear?",
    "identify the blood cell in this microscope image.",
)
IS_BLOOD_CELL = (
    "is the blood cell shown of this type: {thing}?",
    "does this smear show this cell type: {thing}?",
    "would you identify the cell in the centre as {thing}?",
)
IS_GRANULOCYTE = (
    "is the blood cell shown a granulocyte?",
    "does this cell belong to the granulocytes?",
    "would you count this cell among the granulocytes?",
)
HAS_NUCLEUS = (
    "does the blood cell shown have a nucleus?",
    "is there a nucleus in the cell in the centre?",
    "can a nucleus be seen in this cell?",
)
SIDE = (
    "on which side of the body does this organ lie?",
    "is the organ shown a left one, a right one or unpaired?",
    "what is the laterality of the organ in this ct image?",
)
IS_PAIRED = (
    "does the body have two of the organ shown?",
    "is the organ in this ct image a paired one?",
    "is there one of these organs on either side of the body?",
)
