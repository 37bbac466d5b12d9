"""Detections as targets: the candidate that each came from, in every layout, against files that stop before it is chosen."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxplain import Detector, Explainer, rewrite
from onnxplain.errors import InputError, MethodError, TargetError
from tests.support.detectors import CLASSES, SHAPES, detector, pictures

Array = np.ndarray[Any, Any]

SUPPRESSED = ["nms", "nms-topk", "nms-filtered", "nms-torchvision"]
ASKED = {"detr": "detr", "rt-detr": "rt-detr", "ssd": "ssd"}
"""Layouts that the file does not prove, and what is said of them."""
OFTEN = ["yolov5", "yolov8", "yolov10", "ssd", "nms-torchvision"]
LAYOUTS = ["yolov5", "yolov8", "yolov8-pose", "yolov10", "detr", "rt-detr", "ssd", "retinanet", "pp-yoloe", *SUPPRESSED]


def rarely(*values: str) -> list[Any]:
    """Cases of the long sweep."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def run(model: onnx.ModelProto | str, x: Array) -> dict[str, Array]:
    given = model if isinstance(model, str) else model.SerializeToString()
    session = ort.InferenceSession(given, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"images": x}), strict=True))


def plain() -> str:
    return str(SHAPES / "detector.onnx")


def of_candidates(score: str = "logit") -> Explainer:
    """The file cut before anything is chosen: its output holds the candidates' scores, [n, classes, candidates]."""
    return Explainer(plain(), "gradient", output="scores", score=score)


def expected(x: Array) -> list[list[tuple[float, int, int, Array]]]:
    """Score, class, candidate and corners of what a plain loop leaves of `output0`, the best first, picture by picture."""
    found = []
    for rows in run(plain(), x)["output0"]:
        left: list[tuple[float, int, int, Array]] = []
        for candidate in np.argsort(-rows[4:].max(axis=0)):
            kind, score = int(rows[4:, candidate].argmax()), float(rows[4:, candidate].max())
            cx, cy, w, h = rows[:4, candidate]
            box = np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
            if score >= 0.25 and all(k != kind or shared(b, box) <= 0.45 for _, k, _, b in left):
                left.append((score, kind, int(candidate), box))
        found.append(left)
    return found


def shared(a: Array, b: Array) -> float:
    """Intersection over union of two boxes."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(wide, 0) * max(high, 0)
    return float(both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both))


class TestWhatIsFound:
    @pytest.mark.parametrize("layout", [*OFTEN, *rarely(*(name for name in LAYOUTS if name not in OFTEN))])
    def test_every_layout_tells_the_same_detections(self, layout: str) -> None:
        x = pictures(4)
        explainer = Explainer(detector(layout), detect=ASKED.get(layout, "auto"))
        pieces = [x[i : i + 1] for i in range(4)] if layout in SUPPRESSED else [x]
        found = [some for piece in pieces for some in explainer.detections(piece)]
        for some, wanted in zip(found, expected(x), strict=True):
            told = {(int(k), *np.round(b).tolist()) for k, b in zip(some.classes, some.boxes, strict=True)}
            right = {(k, *np.round(b).tolist()) for _, k, _, b in wanted}
            # Of a candidate that is of two classes, the operator leaves both
            assert right <= told if layout in ("nms", "nms-topk", "nms-filtered") else right == told
            if layout in ("yolov8", "retinanet", "pp-yoloe", "nms-torchvision"):
                assert sorted(some.scores) == pytest.approx(sorted(s for s, *_ in wanted), abs=1e-6)

    def test_most_of_what_lies_in_the_pictures_is_found(self) -> None:
        truth = np.load(SHAPES / "data.npz")["objects"]
        found = Explainer(plain(), detect="auto").detections(pictures())
        hits = [
            any(k == kind and shared(np.array(box), b) > 0.5 for k, b in zip(some.classes, some.boxes, strict=True))
            for some, rows in zip(found, truth, strict=True) for *box, kind in rows if kind >= 0
        ]  # fmt: skip
        assert np.mean(hits) > 0.75

    def test_numbers_are_rows_of_the_files_own_output(self) -> None:
        x = pictures(1)
        rows = run(detector("nms"), x)["dets"]
        some = Explainer(detector("nms"), detect="auto").detections(x)[0]
        assert some.numbers.tolist() == list(range(len(rows)))
        assert len(rows) > 1
        assert some.boxes == pytest.approx(rows[:, :4], abs=1e-4)
        assert some.scores == pytest.approx(rows[:, 4])
        assert some.classes.tolist() == rows[:, 5].tolist()

    def test_rows_that_tell_no_class(self) -> None:
        x = pictures(1)
        rows = run(detector("nms-one-class"), x)["dets"]
        explainer = Explainer(detector("nms-one-class"), "gradient", score="probability", detect="auto")
        some = explainer.detections(x)[0]
        assert (some.classes.tolist(), some.boxes) == ([0] * len(rows), pytest.approx(rows[:, :4], abs=1e-4))
        plainly = Explainer(detector("nms-one-class"), "gradient")
        for number in range(len(rows)):
            cotangent = np.zeros_like(rows)
            cotangent[number, 4] = 1
            right = plainly(x, cotangent=cotangent).attribution
            assert explainer(x, number).attribution == pytest.approx(right, abs=1e-6)

    def test_names_come_from_the_file_or_from_labels(self) -> None:
        x = pictures(1)
        assert Explainer(detector("yolov8"), detect="auto").detections(x)[0].name(0) in CLASSES
        assert Explainer(detector("yolov8", names=False), labels=["a", "b", "c"], detect="auto").detections(x)[0].name(0) in "abc"
        assert Explainer(detector("yolov8", names=False), detect="auto").detections(x)[0].name(0).startswith("class ")


class TestTheCandidate:
    @pytest.mark.parametrize("layout", SUPPRESSED)
    def test_rows_behind_suppression_against_the_file_cut_before_it(self, layout: str) -> None:
        """Every row of the file's own output, by the value of its score among the candidates'."""
        # What a greatest score, or an index that is computed, chose among probabilities is explained as one.
        score = "probability" if layout in ("nms-filtered", "nms-torchvision") else "logit"
        cut = of_candidates(score)
        x = pictures()[2:3]
        outputs, candidates = run(detector(layout), x), run_inner(x)
        rows = outputs["foundscores"] if layout == "nms-torchvision" else outputs["dets"][:, 4]
        assert len(rows) > 1
        explainer = Explainer(detector(layout), "gradient", detect="auto")
        for number, value in enumerate(rows):
            (place,) = np.argwhere(candidates == value)
            found = explainer(x, f"detection {number}").attribution
            assert found == pytest.approx(cut(x, tuple(int(p) for p in place)).attribution, abs=1e-6, rel=1e-6)

    @pytest.mark.parametrize("layout", ["yolov8", "rt-detr", *rarely("yolov8-pose", "retinanet", "pp-yoloe")])
    def test_logits_of_raw_layouts(self, layout: str) -> None:
        x = pictures(3)
        found = Explainer(detector(layout), "gradient", detect=ASKED.get(layout, "auto"))(x)
        best = [some[0] for some in expected(x)]
        right = of_candidates()(x, [(kind, candidate) for _, kind, candidate, _ in best])
        assert found.about["score"]["kind"] == "logit"
        assert found.attribution == pytest.approx(right.attribution, abs=1e-5)

    def test_objectness_is_a_factor(self) -> None:
        """d(o·p) = p·do + o·dp; objectness is the best class score here, so that the best score is its square: 2·p·dp."""
        x = pictures(2)
        found = Explainer(detector("yolov5"), "gradient", detect="auto")(x)
        best = [some[0] for some in expected(x)]
        slopes = of_candidates("probability")(x, [(kind, candidate) for _, kind, candidate, _ in best]).attribution
        factors = np.array([2 * score for score, *_ in best])[:, None, None, None]
        assert found.attribution == pytest.approx(factors * slopes, abs=1e-6)

    def test_a_side_of_a_box_against_finite_differences(self) -> None:
        x, random = pictures(1), np.random.default_rng(0)
        ((_, _, candidate, _), *_) = expected(x)[0]
        direction = random.normal(size=x.shape).astype(np.float32)
        for side, (low, high) in {"left": (1, -0.5), "right": (1, 0.5), "width": (0, 1)}.items():
            found = Explainer(plain(), "gradient", detect="auto")(x, f"best {side}").attribution
            step = 1e-4
            ends = [run(plain(), x + s * step * direction)["output0"][0, :, candidate].astype(np.float64) for s in (1, -1)]
            slope = [(a - b) / (2 * step) for a, b in zip(*ends, strict=True)]
            assert (found * direction).sum() == pytest.approx(low * slope[0] + high * slope[2], rel=2e-2, abs=2e-2)

    def test_sums_and_each(self) -> None:
        x = pictures(2)
        explainer = Explainer(plain(), "gradient", detect="auto")
        each, every = explainer(x, "each detection"), explainer(x, "all detections")
        counts = [len(some) for some in expected(x)]
        assert len(each) == sum(counts)
        assert len(every) == 2
        assert every.attribution[0] == pytest.approx(each.attribution[: counts[0]].sum(axis=0), abs=1e-4)
        assert every.attribution[1] == pytest.approx(each.attribution[counts[0] :].sum(axis=0), abs=1e-4)

    def test_a_box_is_four_explanations(self) -> None:
        x = pictures(1)
        explainer = Explainer(plain(), "gradient", detect="auto")
        four = explainer(x, "detection 0 box")
        assert [name.split()[0] for name in four.target_names] == ["left", "top", "right", "bottom"]
        assert four.attribution[2] - four.attribution[0] == pytest.approx(
            explainer(x, "detection 0 width").attribution[0], abs=1e-4
        )

    @pytest.mark.parametrize("method", ["grad-cam", *rarely("lrp-epsilon-plus", "integrated-gradients", "occlusion")])
    def test_other_methods_explain_the_same_element(self, method: str) -> None:
        x = pictures(2)
        options: dict[str, Any] = {
            "integrated-gradients": {"baseline": 0.0, "steps": 5},
            "occlusion": {"window": 16, "stride": 16},
        }
        options = options.get(method, {})
        found = Explainer(plain(), method, detect="auto", **options)(x)
        best = [some[0] for some in expected(x)]
        right = Explainer(plain(), method, output="scores", **options)(x, [(kind, candidate) for _, kind, candidate, _ in best])
        size = float(np.abs(right.attribution).max())
        assert found.attribution == pytest.approx(right.attribution, abs=1e-5 * size)


def run_inner(x: Array) -> Array:
    """The candidates' scores, [classes, candidates]."""
    return np.asarray(run(plain(), x)["output0"][0, 4:])


class TestWords:
    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("best dog", "no class 'dog'; known: cross, disc, frame"),
            ("detection 9", "no detection 9 in the picture; there are 0, 1"),
            ("best disc", "no disc was detected in the picture with a score of 0.25 or more; detected: "),
            ("the frame", "'the frame' is no target of a detector: expected e.g. 'detection 0'"),
            ("all detections left", "would add up the boxes of 2 detections, which means nothing: say 'each detections'"),
            (3.5, "3.5 is no target of a detector"),
            (["best", "best"], "expected one target for each of the 1 pictures, got 2"),
        ],
    )
    def test_what_means_nothing(self, target: Any, message: str) -> None:
        with pytest.raises(TargetError, match=message.replace("(", r"\(")):
            Explainer(plain(), detect="auto")(pictures(1), target)

    def test_nothing_detected(self) -> None:
        with pytest.raises(TargetError, match=r"no detection in the picture has a score of 1 or more; lower confidence="):
            Explainer(plain(), detect=Detector(confidence=1.0))(pictures(1))

    def test_names_that_are_missing(self) -> None:
        with pytest.raises(TargetError, match="the classes have no names, so 'dog' is unknown: give labels"):
            Explainer(detector("yolov8", names=False), detect="auto")(pictures(1), "best dog")

    @pytest.mark.parametrize("words", ["frames", "class 2", *rarely("Frame", "2")])
    def test_plurals_and_numbers(self, words: str) -> None:
        explainer = Explainer(plain(), detect="auto")
        assert explainer(pictures(1), f"all {words}").target_names == explainer(pictures(1), "best frame").target_names

    def test_one_for_each_picture(self) -> None:
        explainer, x = Explainer(plain(), detect="auto"), pictures(2)
        both = explainer(x, "detection 0; detection 1")
        assert [name.split("(")[1] for name in both.target_names] == ["detection 0)", "detection 1)"]
        assert both.attribution[1] == pytest.approx(explainer(x[1:], 1).attribution[0], abs=1e-5)


class TestLayoutsThatAreTold:
    def test_columns(self) -> None:
        told = Detector(boxes="output0[0:4]@1=cxcywh", scores="output0[4:]@1")
        found = Explainer(plain(), "gradient", detect=told)(pictures(2))
        assert found.about["score"]["kind"] == "logit"
        assert found.attribution == pytest.approx(
            Explainer(plain(), "gradient", detect="auto")(pictures(2)).attribution, abs=1e-6
        )

    def test_rows_of_a_file_that_suppresses(self) -> None:
        told = Detector(boxes="dets[0:4]=xyxy", scores="dets[4]", classes="dets[5]")
        found = Explainer(detector("nms"), "gradient", score="probability", detect=told)(pictures(1), "detection 1")
        right = Explainer(detector("nms"), "gradient", score="probability", detect="auto")(pictures(1), "detection 1")
        assert found.target_names == right.target_names
        assert found.attribution == pytest.approx(right.attribution, abs=1e-6)

    @pytest.mark.parametrize(
        ("said", "message"),
        [
            ({"boxes": "output0[0:4]@1"}, "boxes are told as COLUMNS=FORM"),
            ({"boxes": "output0[0:4]@1=xyyx"}, "did you mean|xyxy"),
            ({"boxes": "output0[0:4]@1=cxcywh"}, "are told without scores: tell scores=COLUMNS too"),
            ({"scores": "output0[4:]@1"}, "are told without boxes"),
            ({"boxes": "output1[0:4]@1=cxcywh", "scores": "output0[4:]@1"}, "no tensor 'output1' in the model"),
            ({"boxes": "output0[5:9]@1=cxcywh", "scores": "output0[4:]@1"}, r"has columns beyond the 7 of 'output0'"),
            ({"layout": "yolov9"}, "no layout 'yolov9'"),
            ({"layout": "yolov5"}, r"layout 'yolov5' does not fit. It is: \[n, candidates, 5 \+ classes\]"),
            ({"layout": "nms"}, "no output depends on a NonMaxSuppression"),
            ({"confidence": 2.0}, "confidence is between 0 and 1; got 2.0"),
        ],
    )
    def test_what_does_not_fit(self, said: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            Explainer(plain(), detect=Detector(**said))

    @pytest.mark.parametrize(
        ("layout", "names", "fits"),
        [
            ("yolov8-pose", False, ["yolov8 (", "yolov8-pose ("]), ("yolov5", False, ["yolov5 ("]),
            ("detr", False, ["detr (", "rt-detr ("]), ("ssd", True, ["ssd ("]), ("pp-yoloe", False, ["pp-yoloe ("]),
        ],
    )  # fmt: skip
    def test_what_is_not_proven_is_asked(self, layout: str, names: bool, fits: list[str]) -> None:
        with pytest.raises(InputError, match="does not prove how it tells its detections") as caught:
            Explainer(detector(layout, names), detect="auto")
        assert all(fit in str(caught.value) for fit in fits)

    def test_the_order_of_corners_is_asked_where_nothing_tells_it(self) -> None:
        model = detector("nms")
        model.producer_name = "somebody"
        with pytest.raises(InputError, match=r"may have x or y first .*: say --boxes 'lines=xyxy' or 'lines=yxyx'"):
            Explainer(model, detect="auto")
        found = Explainer(model, detect=Detector(boxes="lines=xyxy")).detections(pictures(1))[0]
        assert found.boxes == pytest.approx(Explainer(detector("nms"), detect="auto").detections(pictures(1))[0].boxes)

    def test_no_detector_at_all(self) -> None:
        with pytest.raises(InputError, match="no layout of a detector was found in 'logits'"):
            Explainer("fixtures/digits/model.onnx", detect="auto")

    def test_wrong_number_of_names(self) -> None:
        with pytest.raises(InputError, match=r"no layout of a detector was found .*, and 2 classes have names"):
            Explainer(detector("yolov8", names=False), labels=["a", "b"], detect="auto")
        with pytest.raises(InputError, match="2 names for the 3 classes of layout 'nms'"):
            Explainer(detector("nms", names=False), labels=["a", "b"], detect="auto")


class TestFiles:
    def test_a_host_picks_a_candidate(self) -> None:
        x = pictures(2)
        made = rewrite(plain(), "gradient", target="input", detect="auto")
        session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        boxes, scores = session.run(["detection_boxes", "detection_scores"], {"images": x, "target": np.array([0])})
        best = [some[0] for some in expected(x)]
        for i, (score, kind, candidate, box) in enumerate(best):
            assert (boxes[i, candidate], scores[i, candidate, kind]) == (pytest.approx(box, abs=1e-4), pytest.approx(score))
        chosen = np.array([candidate * 3 + kind for _, kind, candidate, _ in best])
        (found,) = session.run(["images_attribution"], {"images": x, "target": chosen})
        explained = Explainer(plain(), "gradient", detect="auto")(x)
        assert found == pytest.approx(explained.attribution, abs=1e-6)
        assert explained.target is not None
        assert explained.target.tolist() == chosen.tolist()

    def test_pickles(self) -> None:
        explainer, x = Explainer(plain(), "gradient", detect=Detector(confidence=0.5)), pictures(1)
        before = pickle.loads(pickle.dumps(explainer))(x).attribution
        assert before == pytest.approx(explainer(x).attribution)
        assert pickle.loads(pickle.dumps(explainer))(x).attribution == pytest.approx(before)

    def test_pictures_with_other_numbers_of_candidates(self) -> None:
        explainer = Explainer(detector("nms-filtered"), "gradient", detect="auto")
        assert [len(some) > 0 for some in explainer.detections(pictures(2))] == [True, True]
        with pytest.raises(
            InputError, match=r"another number of candidates in every picture \(\d+, \d+\): explain one at a time"
        ):
            explainer(pictures(2))
        with pytest.raises(InputError, match=r"for one sample and .* for another .* a detection by d-rise"):
            Explainer(detector("nms-filtered"), "rise", detect="auto", samples=20)(pictures(1))

    def test_an_output_beside_it_is_refused(self) -> None:
        with pytest.raises(MethodError, match="a detector is explained at its candidates, and output='output0' was asked for"):
            Explainer(plain(), output="output0", detect="auto")
        with pytest.raises(MethodError, match="no detector was asked for"):
            Explainer(plain()).detections(pictures(1))

    @pytest.mark.filterwarnings("ignore:output 'found")
    def test_pictures_take_turns_in_a_file_that_takes_one(self) -> None:
        explainer, x = Explainer(detector("nms-torchvision"), "gradient", detect="auto"), pictures(2)
        both = explainer(x)
        assert both.attribution[1] == pytest.approx(explainer(x[1:]).attribution[0], abs=1e-7)
