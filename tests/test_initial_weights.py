"""`model.init` of a recipe, from the text to the weights of the job."""

import json
import logging

import pytest
import torch
from torch import nn

from unpool import models
from unpool.assemble.data import read_data
from unpool.assemble.job import first_batch, make_job
from unpool.assemble.loaders import make_train_loader
from unpool.assemble.signals import InitReport, show_init
from unpool.cli import environment
from unpool.cli.main import main
from unpool.errors import RecipeError
from unpool.inspection.signals import Signal, measure_signals
from unpool.models.weights import save_weights
from unpool.recipe import Model, load_recipe, recipe_schema
from unpool.training.stopping import StopRequest

SMALL = {"data.count": 8, "data.workers": 0, "model.width": 4, "train.batch": 4}


def job_of(*, model=None, is_resumed=False, **settings):
    return job_by(load_recipe("scenes_unet", {**SMALL, **settings}), model=model, is_resumed=is_resumed)


def job_by(recipe, *, model=None, is_resumed=False):
    data = read_data(recipe)
    loader = make_train_loader(recipe, data)
    return make_job(recipe, data, loader, model=model, stop=StopRequest(), is_resumed=is_resumed)


def test_short_form_gets_every_option_and_the_default_draws_as_the_source_does():
    assert load_recipe("scenes_unet", {"model.init": "he"}).model.init == {
        "he": {"bilinear": False, "zero_residual": False, "draw": "normal", "slope": 0.0, "fan": "in"}
    }
    assert load_recipe("scenes_unet").model.init is None


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("hee", "no init is called 'hee'; did you mean 'he'?"),
        ({"he": {"draw": "triangle"}}, 'draw is "triangle"; it must be normal or truncated_normal or uniform'),
        ({"orthogonal": {"draw": "normal"}}, "has no key 'draw'"),
    ],
)
def test_what_is_no_row_or_option_is_refused(value, says):
    with pytest.raises(RecipeError, match=says):
        load_recipe("scenes_unet", {"model.init": value})


def test_schema_knows_every_init():
    init = recipe_schema()["$defs"]["Model"]["properties"]["init"]
    assert init["anyOf"][0]["enum"] == ["lecun", "lecun_backward", "glorot", "he", "orthogonal", "lsuv", None]


def test_job_starts_from_the_weights_that_the_recipe_asks_for():
    weights = {kind: job_of(**{"model.init": kind}).model.state_dict() for kind in (None, "lecun", "he")}
    last = next(name for name, value in reversed(weights["he"].items()) if value.dim() == 4)
    first = next(name for name, value in weights["he"].items() if value.dim() == 4)
    assert not torch.equal(weights[None][last], weights["he"][last])
    torch.testing.assert_close(weights["he"][first], 2**0.5 * weights["lecun"][first])


def test_lsuv_scales_by_the_first_batch_of_the_training_order_and_not_when_a_run_goes_on():
    job = job_of(**{"model.init": {"lsuv": {"tolerance": 0.01}}})
    again = job_of(**{"model.init": {"lsuv": {"tolerance": 0.01}}})
    assert all(map(torch.equal, job.model.state_dict().values(), again.model.state_dict().values()))
    prepared = job.prepare(first_batch(job.loader))
    job.model.train()
    signals = measure_signals(job.model, lambda: job.task.losses(job.model, prepared)["cross_entropy"].sum)
    assert all(one.activation == pytest.approx(1, abs=0.01) for one in signals)
    assert list(first_batch(job.loader)["index"]) == job.loader.order.batches(0)[0]
    resumed = job_of(is_resumed=True, **{"model.init": "lsuv"})
    published = job_of()
    assert all(map(torch.equal, resumed.model.state_dict().values(), published.model.state_dict().values()))


def test_loaded_weights_stay_and_the_others_are_drawn(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    torch.manual_seed(5)
    body = models.build("unet", backbone="cifar_resnet20", width=4, num_classes=3).backbone
    path = save_weights(tmp_path / "body.safetensors", body)
    network = Model(name="unet", backbone="cifar_resnet20", weights=str(path), width=4)
    recipe = load_recipe(load_recipe("scenes_unet", SMALL).model_copy(update={"model": network}))
    plain, drawn = job_by(recipe).model, job_by(load_recipe(recipe, {"model.init": "lecun"})).model
    assert all(map(torch.equal, drawn.backbone.state_dict().values(), body.state_dict().values()))
    rest = [name for name, p in plain.named_parameters() if p.dim() == 4 and not name.startswith("backbone.")]
    assert rest
    assert not any(torch.equal(plain.state_dict()[name], drawn.state_dict()[name]) for name in rest)
    assert caplog.text.count("model.init=lecun draws those weights that") == 1
    with pytest.raises(RecipeError, match=r"model\.init is lsuv, which scales every layer by the data"):
        load_recipe(recipe, {"model.init": "lsuv"})


def test_network_of_the_callers_is_not_drawn_anew():
    with pytest.raises(RecipeError, match="this one is yours: leave it out"):
        job_of(model=nn.Conv2d(3, 4, 1), **{"model.init": "he"})


def test_signals_are_deviations_of_outputs_and_their_gradients():
    network = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False))
    x = torch.randn(5, 2)
    first, last = measure_signals(network, lambda: network(x).square().sum())
    hidden = network[0](x).detach().requires_grad_()
    y = network[2](hidden.relu())
    y.square().sum().backward()
    assert (first.layer, first.kind, last.layer) == ("0", "Linear", "2")
    assert first.activation == pytest.approx(float(hidden.detach().std(correction=0)), rel=1e-5)
    assert first.gradient == pytest.approx(float(hidden.grad.std(correction=0)), rel=1e-5)
    assert last.gradient == pytest.approx(float((2 * y).detach().std(correction=0)), rel=1e-5)
    assert network[0].weight.grad is None


def test_show_init_compares_the_published_weights_with_those_asked_for():
    report = show_init("scenes_unet", {**SMALL, "model.init": "lsuv"}, inits=["he", "lsuv"])
    assert list(report.signals) == ["published", "lsuv", "he"]
    assert report.samples == 4
    assert {len(signals) for signals in report.signals.values()} == {18}
    assert all(one.activation == pytest.approx(1, abs=0.11) for one in report.signals["lsuv"])
    with pytest.raises(RecipeError, match="no init is called 'her'"):
        show_init("scenes_unet", SMALL, inits=["her"])


def test_show_init_freezes_what_training_freezes():
    frozen = show_init("scenes_unet", {**SMALL, "model.frozen": ["backbone"]}).signals["published"]
    assert frozen[0].gradient is None
    assert frozen[-1].gradient is not None


def test_show_init_writes_a_page_and_prints_a_table(capsys, monkeypatch, tmp_path):
    signals = {"published": [Signal("a", "Conv2d", 1.0, 0.5), Signal("b", "Linear", 2.0, None)]}
    asked = []
    report = InitReport("unet on resnet18", 4, signals | {"he": signals["published"]})
    monkeypatch.setattr(environment, "prepare_torch", lambda: None)
    monkeypatch.setattr("unpool.assemble.signals.show_init", lambda *a, **more: asked.append((a, more)) or report)
    monkeypatch.chdir(tmp_path)
    assert main(["show", "init", "scenes_unet", "data.count=8", "--init", "he"]) == 0
    out = capsys.readouterr().out
    assert "depth  layer  published output  published gradient  he output  he gradient" in out
    assert asked[0][1]["inits"] == ["he"]
    page = (tmp_path / "scenes_unet_init.html").read_text()
    assert page.count("<svg") == 2
    assert main(["show", "init", "scenes_unet", "--json", "-o", "x.html"]) == 0
    assert json.loads(capsys.readouterr().out)["signals"]["he"][1]["gradient"] is None
    assert main(["show", "init", "scenes_unet"]) == 2
