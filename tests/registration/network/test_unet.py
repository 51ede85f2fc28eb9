"""The network: the paper's size, moving nothing untrained, the same gradients when saving memory."""

import pytest
import torch

from bidsapp.registration.network.unet import VelocityNet
from bidsapp.registration.network.view import N_CHANNELS


def images(shape: tuple[int, int, int] = (9, 10, 14)) -> torch.Tensor:
    return torch.rand((2, *shape), generator=torch.Generator().manual_seed(0))


def test_it_has_the_papers_1_22_million_parameters() -> None:
    assert sum(weight.numel() for weight in VelocityNet(seed=0).parameters()) == 1_221_827
    seeing_labels = VelocityNet(seed=0, n_channels=N_CHANNELS["labels"])
    assert sum(weight.numel() for weight in seeing_labels.parameters()) == 1_254_659


@pytest.mark.parametrize("shape", [(8, 12, 16), (9, 10, 14), (5, 6, 7)])
def test_the_velocity_lies_on_the_images_grid_whatever_its_size(shape: tuple[int, int, int]) -> None:
    assert VelocityNet(seed=0)(images(shape)).shape == (3, *shape)


def test_an_untrained_network_moves_next_to_nothing() -> None:
    velocity = VelocityNet(seed=0)(images())
    assert 0 < velocity.abs().max() < 0.2


def test_the_seed_decides_the_start_and_touches_no_other_random_numbers() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (VelocityNet(seed=seed)(images()) for seed in (1, 1, 2))
    assert torch.rand(1) == wanted
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert (first - other).abs().max() > 1e-4


def test_saving_memory_changes_neither_velocity_nor_gradient() -> None:
    found = []
    for saves_memory in (False, True):
        network = VelocityNet(seed=0)
        velocity = network(images(), saves_memory=saves_memory)
        velocity.square().sum().backward()
        found.append([velocity.detach(), *[weight.grad for weight in network.parameters()]])
    for plain, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(recomputed, plain)


def test_skips_are_sums_every_level_reaches_the_output() -> None:
    network = VelocityNet(seed=0)
    network(images()).square().sum().backward()
    silent = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert not silent
    with torch.no_grad():
        before = network(images())
        network.bottom[3].weight.zero_()
        assert (network(images()) - before).abs().max() > 0


def test_what_it_says_does_not_depend_on_being_in_training() -> None:
    network = VelocityNet(seed=0)
    training = network(images())
    torch.testing.assert_close(network.eval()(images()), training)
