import re
from pathlib import Path

from faulty import IMAGES, RECORDS, SEMANTIC_MASKS

from casvit_mm.datasets.issues import KINDS, Effect, IssueList, Severity

PAGE = Path(__file__).parents[2] / 'docs/data_check.md'


def shown(effect):
    return 'warning' if effect is Effect.NONE else effect.value


def test_the_docs_list_every_kind_with_its_effect():
    rows = re.findall(r'^\| `([a-z-]+)` \| (\w+) \| (.*) \| (.*) \|$', PAGE.read_text(), re.M)
    assert rows == [
        (name, shown(kind.effect), kind.title, kind.advice) for name, kind in KINDS.items()
    ]


def test_every_kind_is_covered_by_a_test():
    made = {*RECORDS.values(), *IMAGES.values(), *SEMANTIC_MASKS.values()}
    elsewhere = {'no-mask', 'tiny-box', 'unused-class', 'absent-class', 'class-order'}
    elsewhere |= {'same-picture', 'unpaired-label-map', 'binary-mask', 'unsafe-name'}
    elsewhere |= {'spread-values', 'near-duplicate'}
    elsewhere |= {'unreadable-annotation', 'unused-annotation-file', 'missing-split'}
    elsewhere |= {'nothing-to-learn', 'normalised-box', 'box-mask-mismatch', 'flat-polygon'}
    elsewhere |= {'duplicate-object', 'similar-names', 'dark-picture', 'lossy-mask'}
    elsewhere |= {'empty-class', 'class-conflict', 'skipped-picture', 'truncated-picture'}
    assert made | elsewhere == set(KINDS)


def test_counts_list_errors_first():
    issues = IssueList()
    for kind in ('crowd', 'empty-box', 'crowd'):
        issues.add(kind, 'a.json', 'annotations[0]', 'is wrong')
    assert list(issues.counts().items()) == [('empty-box', 1), ('crowd', 2)]
    assert [issue.kind for issue in issues.of(Severity.WARNING)] == ['crowd', 'crowd']
    assert str(issues.first('crowd', 1)[0]) == 'a.json: annotations[0] is wrong'
