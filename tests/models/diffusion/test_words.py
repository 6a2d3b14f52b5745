"""Prompts as tokens: a learnt vocabulary, CLIP's text tower, and the dropping of prompts."""

import json

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.diffusion.words import CLIPWords, Vocabulary, dropped
from models.errors import UserError

LETTERS = ["a", "b", "a</w>", "b</w>", "ab</w>", "<|startoftext|>", "<|endoftext|>"]


@pytest.fixture
def words():
    torch.manual_seed(0)
    return Vocabulary(["a crown", "a sheep"], 3, 8)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """The tokenizer and text encoder of a tiny Stable Diffusion of random weights; it knows two letters."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(LETTERS)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=8)
    tokenizer.save_pretrained(folder / "tokenizer")
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    tower = CLIPTextModel(CLIPTextConfig(vocab_size=7, max_position_embeddings=8, eos_token_id=6, **size))
    tower.save_pretrained(folder / "text_encoder")
    return folder, tokenizer, tower.eval()


def test_a_vocabulary_has_own_tokens_of_each_prompt_and_of_the_null(words):
    tokens = words(["a sheep", "", "a crown", "a sheep"])
    assert tokens.shape == (4, 3, 8) == (4, words.length, words.width)
    torch.testing.assert_close(tokens[0], tokens[3], rtol=0, atol=0)
    rows = words.table.weight.view(3, 3, 8)
    torch.testing.assert_close(tokens[[1, 2, 0]], rows, rtol=0, atol=0)


def test_every_prompt_of_a_batch_gets_gradient_and_no_other(words):
    words(["a crown"]).pow(2).sum().backward()
    assert (words.table.weight.grad.abs().sum(1) > 0).tolist() == [False, True, False]


def test_a_prompt_outside_the_vocabulary_is_refused_by_the_list(words):
    with pytest.raises(UserError, match=r"'a hat' is not in the vocabulary; choose one of: 'a crown', 'a sheep'\."):
        words(["a crown", "a hat"])


@pytest.mark.parametrize("prompts", [["a", "a"], ["a", ""]])
def test_a_vocabulary_lists_each_prompt_once(prompts):
    with pytest.raises(UserError, match="lists a prompt twice"):
        Vocabulary(prompts, 3, 8)


def test_clip_words_are_the_padded_last_hidden_states(pipeline):
    folder, tokenizer, tower = pipeline
    words = CLIPWords(str(folder))
    assert (words.length, words.width) == (8, 16)
    prompts = ["ab a", "", "b"]
    numbers = tokenizer(prompts, padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(words(prompts), tower(numbers).last_hidden_state)
    assert words.pieces("ab a")[:4] == ["<|startoftext|>", "ab</w>", "a</w>", "<|endoftext|>"]


def test_clip_words_stay_frozen_and_in_evaluation_mode(pipeline):
    words = CLIPWords(str(pipeline[0])).train()
    assert not any(module.training for module in words.modules())
    assert not any(parameter.requires_grad for parameter in words.parameters())
    assert not words(["a"]).requires_grad


def test_a_prompt_that_clip_would_cut_is_refused(pipeline):
    with pytest.raises(UserError, match="has 9 tokens, and CLIP reads 8"):
        CLIPWords(str(pipeline[0]))(["a b a b a b a"])


def test_clip_words_that_are_not_here_are_told_of(tmp_path):
    with pytest.raises(UserError, match="is not on this machine"):
        CLIPWords(str(tmp_path / "absent"))


def test_prompts_are_dropped_as_often_as_asked():
    torch.manual_seed(0)
    assert dropped(["a"] * 50, 0) == ["a"] * 50
    assert dropped(["a"] * 50, 1) == [""] * 50
    share = dropped(["a"] * 4000, 0.1).count("") / 4000
    assert abs(share - 0.1) < 4 * (0.09 / 4000) ** 0.5
