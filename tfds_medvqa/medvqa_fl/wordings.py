"""Wordings of every question, several each; {thing} is the subject of the question."""

MODALITY = (
    "which imaging modality was used to take this image?",
    "what type of medical image is this?",
    "how was this image acquired?",
    "what imaging technique is shown here?",
)
IS_MODALITY = (
    "was {thing} used to obtain this image?",
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
    "was this image taken to examine the {thing}?",
    "is the {thing} examined in this image?",
    "is this an examination of the {thing}?",
)
ORGAN = (
    "which anatomical structure is in the centre of this ct image?",
    "on which organ or bone is this ct slice centred?",
    "name the anatomical structure in the middle of this ct image.",
)
IS_ORGAN = (
    "is the {thing} in the centre of this ct image?",
    "is this ct slice centred on the {thing}?",
    "is the structure in the middle of this ct image the {thing}?",
)
DIAGNOSIS = (
    "what is the specific diagnosis for the {thing} in this image?",
    "what is the most likely diagnosis in this image of the {thing}?",
    "what does this image of the {thing} reveal?",
    "how would you diagnose the {thing} shown here?",
)
HAS_FINDING = (
    "does this image show {thing}?",
    "is there evidence of {thing} in this image?",
    "can {thing} be seen in this image?",
)
IS_ABNORMAL = (
    "is there any abnormality in this image of the {thing}?",
    "does this image show any disease of the {thing}?",
    "is anything abnormal about the {thing} in this image?",
)
SKIN_LESION = (
    "what is the specific diagnosis for this skin lesion?",
    "what is the most likely diagnosis for the lesion in this image?",
    "which kind of lesion does the skin show here?",
)
IS_SKIN_LESION = (
    "is this skin lesion {thing}?",
    "does this image show {thing}?",
    "would you diagnose the lesion in this image as {thing}?",
)
IS_MELANOCYTIC = (
    "is this skin lesion melanocytic?",
    "does the lesion in this image arise from melanocytes?",
    "is the lesion shown here of melanocytic origin?",
)
BREAST = (
    "is the finding in this breast ultrasound malignant or benign?",
    "what is the specific diagnosis for the breast in this image?",
    "how would you classify this ultrasound image of the breast?",
)
MALIGNANCY = (
    "does this image show malignancy?",
    "is there a malignant lesion in this image?",
    "are there signs of breast cancer in this image?",
)
COLON_CANCER = (
    "are there signs of cancer in this image?",
    "is the tissue in this patch associated with cancer?",
    "does this histology patch give evidence of a malignant tumour?",
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
    "would you call the content of this patch {thing}?",
)
KIDNEY_CELL = (
    "which kind of kidney cortex cell is shown?",
    "to which structure or cell type of the kidney cortex does this cell belong?",
    "identify the cell in this image of the kidney cortex.",
)
IS_KIDNEY_CELL = (
    "does this cell belong to the {thing}?",
    "would you assign this kidney cortex cell to the {thing}?",
    "is the cell in the centre part of the {thing}?",
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
    "is the cell in the centre of this smear {thing}?",
    "does this image show {thing}?",
    "would you identify this blood cell as {thing}?",
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
    # Not where it lies: the spleen is unpaired and lies on the left.
    "is the structure in the centre the left one of a pair, the right one, or unpaired?",
    "is the structure in the centre a left one, a right one or unpaired?",
    "what is the laterality of the structure in the centre of this ct image?",
)
IS_PAIRED = (
    "does the body have two of the structure in the centre?",
    "is the structure in the centre of this ct image a paired one?",
    "is there such a structure on either side of the body?",
)
