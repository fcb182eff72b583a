"""The device model: counts, bounds, published points, names."""

from __future__ import annotations

import pytest
from vljepa_edge.bench.devices.analytic import UnsupportedPrecisionError, predict
from vljepa_edge.bench.devices.catalogue import UnknownDeviceError, devices, find_device
from vljepa_edge.bench.devices.check import check_points
from vljepa_edge.bench.devices.operators import components
from vljepa_edge.bench.devices.table import device_table, predict_device
from vljepa_edge.model.config import nano, paper


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (8, (0.62, 0.10, 1.03, 0.07)),
        (16, (1.24, 0.41, 2.03, 0.28)),
        (32, (2.49, 1.65, 4.03, 1.12)),
        (64, (4.97, 6.60, 8.04, 4.43)),
    ],
)
def test_counts_are_those_of_the_formulae(frames: int, expected: tuple[float, ...]) -> None:
    encode, predicted = components(paper(frames), 32)[:2]
    counts = [part.linear_flops for part in (encode, predicted)]
    counts += [part.attention_flops for part in (encode, predicted)]
    linear_e, attention_e, linear_p, attention_p = expected
    wanted = [linear_e, linear_p, attention_e, attention_p]
    assert [round(count / 1e12, 2) for count in counts] == wanted


def test_weights_are_the_models() -> None:
    encode, predicted = components(paper(16), 32)[:2]
    assert encode.weights == pytest.approx(303.6e6, rel=0.01)
    assert predicted.weights == pytest.approx(486.5e6 + 2.1e6 + 3.1e6, rel=0.01)


def test_weights_agree_with_the_reference_model() -> None:
    torch = pytest.importorskip("torch")
    from vljepa_edge.model.x_encoder import XEncoder

    model = nano()
    with torch.device("meta"):
        built = XEncoder(model)
    linear = sum(p.numel() for p in built.parameters() if p.dim() >= 2)
    assert components(model, 4)[0].weights == pytest.approx(linear, rel=0.01)


def test_orin_points_lie_within_ten_percent() -> None:
    points = check_points()
    assert len(points) == 6
    for point in points:
        assert abs(point.error) < 0.10, point


@pytest.mark.parametrize(
    ("name", "precision", "bound_ms"),
    [
        ("h200", "fp16", 4.0),
        ("h200", "fp8", 2.4),
        ("h200", "fp32", 59),
        ("thor-t5000", "fp8", 12),
        ("agx-orin-64", "int8", 55),
        ("orin-nano-super", "int8", 140),
    ],
)
def test_bounds(name: str, precision: str, bound_ms: float) -> None:
    found = predict_device(find_device(name), paper(16), precision)
    assert found.bound_ms == pytest.approx(bound_ms, rel=0.03)
    assert found.realistic_ms > found.bound_ms
    assert found.kind == "predicted"


def test_more_work_takes_longer_and_less_precision_less() -> None:
    for device in devices():
        times = {
            (row.frames, row.precision): row.realistic_ms
            for row in device_table([paper(8), paper(16), paper(32)], chosen=[device])
        }
        assert times[8, "fp16"] < times[16, "fp16"] < times[32, "fp16"]
        assert times[16, "int8"] < times[16, "fp16"] < times[16, "fp32"]


def test_keeping_up() -> None:
    found = predict_device(find_device("orin-nano-super"), paper(16), "int8")
    assert found.keep_up_fps == pytest.approx(8 / found.realistic_ms * 1e3)
    wider = predict_device(find_device("orin-nano-super"), paper(16), "int8", stride=16)
    assert wider.keep_up_fps == pytest.approx(2 * found.keep_up_fps)
    assert found.model_fps_w is not None and 7 < found.model_fps_w < 25
    slow = predict_device(find_device("orin-nano-super"), paper(32), "fp32")
    assert slow.model_fps_w is None  # it doesn't keep up at the model's own rate


def test_a_decode_step_is_bound_by_memory() -> None:
    step = components(paper(16), 32)[2]
    device = find_device("agx-orin")
    seconds = predict(device, step, "fp16").bound_s
    assert seconds == pytest.approx(step.weights * 2 / (device.bandwidth_gb_s * 1e9), rel=0.05)


def test_unknown_device_offers_the_nearest() -> None:
    with pytest.raises(UnknownDeviceError, match="did you mean orin-nano-super"):
        find_device("orin nano sper")
    assert find_device("Jetson AGX Orin 64 GB") is find_device("agx-orin")


def test_orin_has_no_fp8() -> None:
    with pytest.raises(UnsupportedPrecisionError, match="no fp8"):
        predict_device(find_device("agx-orin"), paper(16), "fp8")
