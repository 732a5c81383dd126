"""Training the rows of an embedding that labelled texts use, beside training all of them."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from conftest import encode_texts, small_model
from torch import nn

from dami_text.config.options import TrainingConfig
from dami_text.data.texts import LabeledTexts
from dami_text.models import training
from dami_text.models.training import train
from dami_text.models.used_rows import in_place, used_rows

KINDS = ["cnn", "bilstm"]


@pytest.fixture(scope="module")
def texts():
    """60 texts: words of the even ones and words of the odd ones differ, but for the class's own."""
    rng = np.random.default_rng(0)
    return encode_texts(
        [" ".join([*(f"{'ab'[i % 2]}{j}" for j in rng.integers(0, 30, 6)), f"class{i // 2 % 2}"]) for i in range(60)]
    )


def of_rows(texts, rows) -> LabeledTexts:
    rows = np.asarray(rows)
    return LabeledTexts(texts, rows, rows // 2 % 2)


def trained(kind, texts, *, validation, **options):
    """A model in double precision, trained on half of the even texts, and how that went."""
    model = small_model(kind, len(texts.tokenizer), dropout=0.3).double()
    config = TrainingConfig(learning_rate=1e-2, train_batch_size=4, steps=40, epochs=6, **options)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        done = train(
            model,
            of_rows(texts, range(0, 30, 2)),
            of_rows(texts, range(30, 50)) if validation else None,
            config,
            Accelerator(cpu=True),
            rng=np.random.default_rng(1),
        )
    return model, done


@pytest.mark.parametrize("validation", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_result_is_that_of_training_all_rows(kind, validation, texts, monkeypatch):
    model, done = trained(kind, texts, validation=validation)
    monkeypatch.setattr(training, "used_rows", lambda model, data: None)
    other, expected = trained(kind, texts, validation=validation)
    assert done == expected
    assert type(model.embedding) is nn.Embedding
    for (name, found), (wanted_name, wanted) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        assert name == wanted_name
        torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0, msg=name)
    before = small_model(kind, len(texts.tokenizer)).double().embedding.weight
    changed = (model.embedding.weight != before).any(dim=1).numpy()
    used = np.unique(np.concatenate([texts.token_ids(row) for row in range(0, 30, 2)]))
    assert set(np.flatnonzero(changed)) == set(used.tolist())


def test_weight_decay_moves_all_rows(texts):
    model, _ = trained("cnn", texts, validation=False, weight_decay=0.1)
    before = small_model("cnn", len(texts.tokenizer)).double().embedding.weight
    others = [texts.tokenizer.convert_tokens_to_ids(f"b{i}") for i in range(30)]
    assert (model.embedding.weight[others].norm(dim=1) < 0.9 * before[others].norm(dim=1)).all()


def test_rows_are_read_in_place_of_the_embedding_and_given_to_it_even_after_an_error(texts):
    model = small_model("cnn", len(texts.tokenizer))
    whole, before = model.embedding, model.embedding.weight.detach().clone()
    data = of_rows(texts, range(0, 10, 2))
    rows, batch = used_rows(model, data), texts.collate(data.rows)
    wanted = whole(batch.input_ids.long())

    def train_and_fail() -> None:
        with in_place(model, rows):
            assert model.embedding is rows
            assert torch.equal(rows(batch.input_ids.long()), wanted)
            with pytest.raises(IndexError):  # a word of other texts is not there to be trained
                rows(torch.tensor([texts.tokenizer.convert_tokens_to_ids("b1")]))
            with torch.no_grad():
                rows.weight += 1
            raise RuntimeError("failed")

    with pytest.raises(RuntimeError, match="failed"):
        train_and_fail()
    assert model.embedding is whole
    used = np.unique(np.concatenate([[0], *(texts.token_ids(row) for row in data.rows)]))
    before[used] += 1
    assert torch.equal(whole.weight, before)


def test_other_models_and_vectors_that_are_not_an_embedding_have_no_such_rows(texts):
    data, model = of_rows(texts, range(4)), small_model("cnn", len(texts.tokenizer))
    assert used_rows(nn.Linear(2, 2), data) is None
    assert used_rows(model.to("meta"), data) is None
    model.embedding = nn.Identity()
    assert used_rows(model, data) is None
