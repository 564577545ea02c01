"""A dataset as it is read, whatever its format."""

from casvit_mm.datasets.formats.dataset import listed_splits


def test_voc_lists_may_have_names_with_dots_and_spaces_and_flags(tmp_path):
    main = tmp_path / 'ImageSets/Main'
    main.mkdir(parents=True)
    (main / 'train.txt').write_text('a.v2\nstreet 7\nb  1\nc -1\n\nd.JPG\nsub/e.png\n')
    (main / 'val.txt').write_text('f\na.v2\n')
    (main / 'dog_train.txt').write_text('g 1\n')
    train = dict.fromkeys(['a.v2', 'street 7', 'b', 'c', 'd', 'e'], 'train')
    assert listed_splits(tmp_path, 'Main', 'Segmentation') == {**train, 'f': 'val'}
    assert listed_splits(tmp_path, 'Segmentation') == {}
