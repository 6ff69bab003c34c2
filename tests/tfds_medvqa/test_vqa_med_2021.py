"""VQA-Med 2021 trains on 2020's images, or builds without them."""

import shutil

from tests.tfds_medvqa.dummy_builds import build_dummy, dummy_folder, texts


def images(splits):
    return {
        split: sorted(example["image_id"].decode() for example in examples)
        for split, examples in splits.items()
    }


def test_the_challenge_trains_on_the_training_and_validation_set_of_2020(tmp_path):
    assert images(texts(build_dummy("vqa_med_2021/challenge", tmp_path))) == {
        "train": ["synpic11.jpg", "synpic12.jpg", "synpic13.jpg"],
        "validation": ["synpic15.jpg", "synpic16.jpg"],
        "test": ["synpic17.jpg"],
    }


def test_the_new_images_need_no_file_of_2020(tmp_path):
    manual = shutil.copytree(dummy_folder("vqa_med_2021"), tmp_path / "manual")
    for folder in manual.glob("VQAMed2020*"):
        shutil.rmtree(folder)
    assert images(texts(build_dummy("vqa_med_2021/new_images", tmp_path, manual))) == {
        "train": ["synpic15.jpg", "synpic16.jpg"],
        "test": ["synpic17.jpg"],
    }
