"""Drawn results show everything they hold, in its place and in its colour."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import casvit.drawing.text
from casvit.drawing.draw import draw, draw_classification, draw_detections
from casvit.drawing.fonts import font_for
from casvit.results import Classification, Detections, LocalMask, SemanticMap

RED, BLUE = (200, 30, 30), (20, 40, 220)


def grey(height=200, width=300):
    return np.full((height, width, 3), 128, np.uint8)


def detections(boxes, class_ids=None, masks=None, classes=('cat', 'dog'), **more):
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.5, count).astype(np.float32),
        np.array(class_ids or [0] * count, np.int64),
        masks,
        classes=classes,
        palette=[RED, BLUE],
        **{'height': 200, 'width': 300, **more},
    )


def has(image, colour):
    return (image == colour).all(-1)


def test_a_box_is_drawn_at_its_place():
    image = grey()
    drawn = draw(detections([[50, 60, 150, 120]]), image)
    assert (image == 128).all()
    rows, columns = np.nonzero(has(drawn, RED))
    # Lines of two pixels on both sides of the edges.
    assert (columns.min(), rows.max()) == (49, 120)
    assert has(drawn, RED)[60:121, 149:151].all() and has(drawn, RED)[119:121, 50:151].all()
    assert (drawn[70:110, 60:140] == 128).all()


def test_a_mask_is_translucent_with_a_solid_contour():
    mask = np.zeros((200, 300), bool)
    mask[60:120, 50:150] = True
    drawn = draw(detections([[50, 60, 150, 120]], [1], [LocalMask.crop(mask)]), grey())
    mixed = np.array(BLUE) * 0.45 + 128 * 0.55
    assert abs(drawn[80:100, 80:120] - mixed).max() <= 1
    assert (drawn[61:119, 49] == 128).all() or has(drawn, BLUE)[61:119, 49].all()
    assert has(drawn, BLUE)[61:119, 50].all()
    assert (drawn[130:, :] == 128).all() and (drawn[:, 160:] == 128).all()


def test_name_and_score_are_written_on_the_colour_of_the_class():
    boxes = [[50, 60, 290, 190]]
    drawn = draw_detections(detections(boxes, [1]), grey())
    label = has(drawn, BLUE)[:59]
    width = np.nonzero(label.any(0))[0]
    assert width.min() == 49 and (drawn[:60, 50 : width.max() + 1] > 220).all(-1).any()
    short = has(draw_detections(detections(boxes, [1]), grey(), scored=False), BLUE)[:59]
    assert np.nonzero(short.any(0))[0].max() < width.max()


@pytest.mark.parametrize(
    'box',
    [
        [-1e30, -1e30, 1e30, 1e30],
        [np.nan, 5, np.inf, 10],
        [290, 190, 320, 240],
        [-50, -50, -10, -10],
        [400, 400, 500, 500],
        [20, 20, 20, 20],
        [0, 0, 300, 200],
    ],
)
@pytest.mark.parametrize('size', [(200, 300), (1, 1), (1, 4000), (4000, 1), (3, 5)])
def test_boxes_may_lie_anywhere_and_images_be_of_any_size(box, size):
    drawn = draw(detections([box]), grey(*size))
    assert drawn.shape == (*size, 3) and drawn.dtype == np.uint8


def test_a_detection_may_have_an_empty_mask():
    empty = LocalMask(0, 0, np.zeros((0, 0), bool))
    assert draw(detections([[10, 10, 20, 20]], masks=[empty]), grey()).shape == (200, 300, 3)
    assert (draw(detections([]), grey()) == 128).all()


def test_classes_without_a_colour_get_one():
    result = Detections(
        np.array([[50, 60, 150, 120]], np.float32),
        np.ones(1, np.float32),
        np.array([1]),
        classes=('cat', 'dog'),
        palette=[RED],
        height=200,
        width=300,
    )
    drawn = draw(result, grey())
    assert not has(drawn, RED).any() and (drawn != 128).any()


def test_a_semantic_map_is_blended_and_its_classes_are_labelled():
    class_ids = np.zeros((200, 300), np.uint8)
    class_ids[:, 200:] = 1
    result = SemanticMap(
        class_ids, classes=('cat', 'dog'), palette=[RED, BLUE], height=200, width=300
    )
    drawn = draw(result, grey())
    assert abs(drawn[0, 0] - (np.array(RED) + 128) / 2).max() <= 1
    assert abs(drawn[199, 299] - (np.array(BLUE) + 128) / 2).max() <= 1
    for colour, (left, right) in ((RED, (0, 200)), (BLUE, (200, 300))):
        rows, columns = np.nonzero(has(drawn, colour))
        assert len(rows) > 50 and left <= columns.min() and columns.max() < right
        assert abs(columns.mean() - (left + right) / 2) < 30 and abs(rows.mean() - 100) < 40


def test_a_class_too_thin_for_the_coarse_grid_is_labelled_too():
    class_ids = np.zeros((400, 2000), np.uint8)
    class_ids[:, 1003:1014] = 1
    class_ids[399] = 0
    result = SemanticMap(
        class_ids, classes=('cat', 'dog'), palette=[RED, BLUE], height=400, width=2000
    )
    assert has(draw(result, grey(400, 2000)), BLUE).any()


def test_the_best_classes_are_listed_in_the_corner():
    result = Classification(
        np.array([0.2, 0.8], np.float32),
        classes=('cat', 'dog'),
        palette=[RED, BLUE],
        height=200,
        width=300,
    )
    drawn = draw(result, grey())
    first, second = (np.nonzero(has(drawn, colour))[0] for colour in (BLUE, RED))
    assert first.max() < second.min() and second.max() < 60
    assert not has(draw_classification(result, grey(), best=1), RED).any()


NAMES = ['café', 'Straße', 'личность', '行人', '사람', 'شخص', 'a\u200bb', '\U0001f600', 'x\ny']


def labels(names):
    return [
        draw(detections([[5, 50, 295, 190]], classes=(name, '')), grey())[:50].tobytes()
        for name in names
    ]


def test_names_in_any_script_are_drawn_and_differ():
    assert len(set(labels([*NAMES, 'a', 'b']))) == len(NAMES) + 2


def test_names_in_any_script_are_drawn_without_any_font_of_the_machine(monkeypatch):
    monkeypatch.setattr('casvit.drawing.fonts._fonts', lambda: ('',))
    for name in ('_label_ink', '_letters'):
        function = getattr(casvit.drawing.text, name).__wrapped__
        monkeypatch.setattr(casvit.drawing.text, name, function)
    assert len(set(labels([*NAMES, 'a', 'b']))) == len(NAMES) + 2
    assert font_for('café Ü', 20)[1] == 'cafe U'
    assert font_for('行', 20)[1] == '\\u884c'


def test_a_font_that_has_all_characters_is_preferred():
    font, text = font_for('plain ASCII', 20)
    assert text == 'plain ASCII' and font.getname()[0] == 'Aileron'
    assert font_for('naïve', 20)[1] in ('naïve', 'naive')


def test_drawing_needs_no_opencv_and_no_torch(tmp_path):
    code = """
        import sys
        import numpy as np
        from casvit.results import Classification, Detections, LocalMask, SemanticMap
        size = dict(classes=('cat', 'Straße'), height=40, width=60,
                    image=np.zeros((40, 60, 3), np.uint8))
        mask = LocalMask(3, 4, np.ones((5, 6), bool))
        Detections(np.array([[3, 4, 9, 9]], np.float32), np.ones(1, np.float32),
                   np.zeros(1, np.int64), [mask], **size).save('a.jpg')
        SemanticMap(np.zeros((40, 60), np.uint8), **size).save('b.png')
        Classification(np.array([0.1, 0.9]), **size).save('c.webp')
        found = {name.split('.')[0] for name in sys.modules}
        print(sorted(found & {'torch', 'cv2', 'mmengine', 'mmcv', 'mmdet', 'supervision',
                              'matplotlib', 'casvit_mm'}))
    """
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == '[]\n', done.stderr


def test_what_is_no_result_cannot_be_drawn():
    with pytest.raises(TypeError, match='int is not a result that can be drawn'):
        draw(3, np.zeros((4, 4, 3), np.uint8))
