import torch

from benchmark.gpu_memory import LiveBytes


def test_memory_is_counted_while_it_is_held_and_views_are_free() -> None:
    count = LiveBytes()
    with count:
        a = torch.zeros(1000, dtype=torch.float32)
        view = a.reshape(10, 100).T
        del a
        assert sum(count.sizes.values()) == 4000
        del view
        b = torch.ones(500, dtype=torch.float64)
        assert sum(count.sizes.values()) == 4000
        c = b + 1.0
        del b, c
    assert count.peak == 8000
    assert count.sizes == {}
