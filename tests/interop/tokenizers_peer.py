#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the tokenizers with the packages tokenizers, sentencepiece and transformers of PyPI. Run by hand:

	python3 -m venv /tmp/peer && /tmp/peer/bin/pip install tokenizers sentencepiece gguf transformers
	make tests/interop/encode_ids
	/tmp/peer/bin/python tests/interop/tokenizers_peer.py build/tests/interop/encode_ids SHARED [MODEL.gguf [SEED
		[PARTS]]]

SHARED is the folder with data/ and reference/; MODEL.gguf a byte-level one, SmolLM2's.

1. Whole texts: the same ids, and how fast.
2. tokenizer.json with all kinds of steps, drawn at random, on nasty texts: the same ids, also from what we write.
3. Every character of Unicode inside short texts; other ids for a character are counted, as the versions of Unicode
   differ between libraries.
4. SentencePiece models trained here with all options; the same vocabulary in a GGUF.
Exit status 1 if anything differs that may not.
"""
import io
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import unicodedata

import gguf
import sentencepiece
from tokenizers import Tokenizer

PROGRAM, SHARED = sys.argv[1], sys.argv[2]
GGUF = sys.argv[3] if len(sys.argv) > 3 and sys.argv[3] else None
SEED = int(sys.argv[4]) if len(sys.argv) > 4 else 1
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORK = tempfile.mkdtemp()
failed = 0


def path(name):
	return os.path.join(WORK, name)


def write(name, data):
	with open(path(name), "wb") as file:
		file.write(data if isinstance(data, bytes) else data.encode())
	return path(name)


def ours(tokenizer, texts, mode):
	"""The program's ids of each text, and the seconds; ids None if it refuses."""
	records = b"".join(struct.pack("<I", len(t)) + t for t in (text.encode() for text in texts))
	done = subprocess.run([PROGRAM, tokenizer, mode, write("records", records)], stdout=subprocess.PIPE,
		stderr=subprocess.PIPE, check=False)
	if done.returncode != 0:
		return None, done.stderr.decode()
	return [[int(i) for i in line.split()] for line in done.stdout.decode().split("\n")[:-1]], float(done.stderr)


def our_json(tokenizer):
	done = subprocess.run([PROGRAM, tokenizer, "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
	return (write("ours.json", done.stdout), "") if done.returncode == 0 else (None, done.stderr.decode())


def hugging(name, texts, special=True):
	t = Tokenizer.from_file(name)
	t.encode_special_tokens = not special
	begin = time.time()
	ids = [t.encode(text, add_special_tokens=False).ids for text in texts]
	return ids, time.time() - begin


def pieces(name, texts):
	t = sentencepiece.SentencePieceProcessor(model_file=name)
	begin = time.time()
	ids = [t.encode(text) for text in texts]
	return ids, time.time() - begin


def report(name, mine, theirs, texts, seconds=None, quiet=False):
	global failed
	same = mine is not None and mine == theirs
	speed = ""
	if seconds is not None:
		n = sum(len(text.encode()) for text in texts) / 1e6
		speed = f", {n:.1f} MB: ours {n / seconds[0]:.1f} MB/s, theirs {n / seconds[1]:.2f} MB/s"
	if not same:
		failed += 1
	if not same or not quiet:
		print(("same  " if same else "DIFFER"), name + speed, flush=True)
	if not same and mine is not None:
		for text, a, b in zip(texts, mine, theirs):
			if a != b:
				at = next((i for i, (p, q) in enumerate(zip(a, b)) if p != q), min(len(a), len(b)))
				near = slice(max(0, at - 3), at + 8)
				print("  ", repr(text[:200]), "at", at, "ours", a[near], "theirs", b[near])
				break
	return same


# ---- 1. Whole texts

def whole_texts():
	names = ["text/wikitext-2/test.txt", "text/calib-exllamav3/c4.utf8", "text/calib-exllamav3/technical.utf8"]
	texts = []
	for name in names:
		with open(os.path.join(SHARED, "data", name), encoding="utf-8", newline="") as file:
			texts.append(file.read())
	sources = [(os.path.join(SHARED, "data/stories-0.9M/tokenizer.json"), "json")]
	for name in ("stories-0.9M/tokenizer.model", "llama2c-tokenizer/tokenizer.model", "stories260K/tok512.model"):
		sources.append((os.path.join(SHARED, "data", name), "spm"))
	for kind in ("gpt2", "llama3", "qwen2"):
		sources.append((write(kind + ".json", json.dumps(byte_level(kind))), "json"))
	if GGUF:
		sources.append((GGUF, "gguf"))
	for source, kind in sources:
		name = os.path.relpath(source, SHARED) if source.startswith(SHARED) else os.path.basename(source)
		special, seconds = ours(source, texts, "special")
		if special is None:
			report(name + ": " + seconds, None, [], texts)
			continue
		if kind == "spm":
			mine, took = ours(source, texts, "ids")
			theirs, other = pieces(source, texts)
			report(name + ", sentencepiece", mine, theirs, texts, (took, other))
		if kind == "json":
			theirs, other = hugging(source, texts)
			report(name + ", tokenizers", special, theirs, texts, (seconds, other))
		if kind == "gguf":
			against_transformers(source, texts)
		written, why = our_json(source)
		if written is None:
			report(name + ": " + why, None, [], texts)
			continue
		theirs, other = hugging(written, texts)
		report(name + ", tokenizers on the tokenizer.json that we write", special, theirs, texts, (seconds, other))
		report(name + ", we on that", ours(written, texts, "special")[0], special, texts)


def against_transformers(source, texts):
	"""transformers leaves out the step that splits digits: put in here, as SmolLM2's own tokenizer.json has it."""
	from tokenizers import pre_tokenizers
	from transformers import AutoTokenizer
	t = AutoTokenizer.from_pretrained(os.path.dirname(source), gguf_file=os.path.basename(source))
	backend = t.backend_tokenizer
	backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True),
		pre_tokenizers.ByteLevel(add_prefix_space=False)])
	begin = time.time()
	theirs = [backend.encode(text, add_special_tokens=False).ids for text in texts]
	seconds = time.time() - begin
	mine, took = ours(source, texts, "special")
	report(os.path.basename(source) + ", transformers", mine, theirs, texts, (took, seconds))


# ---- 2. Steps at random

PATTERNS = {
	"gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
	"llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
		r"\s+(?!\S)|\s+",
}


PATTERNS["qwen2"] = PATTERNS["llama3"].replace("{1,3}", "")


def data_file(name):
	with open(os.path.join(HERE, "data", name), encoding="utf-8") as file:
		return json.load(file)


def byte_level(kind):
	t = data_file("tokenizers/byte-level.json")
	last = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": kind == "gpt2"}
	if kind == "gpt2":
		t["pre_tokenizer"] = last
	else:
		split = {"type": "Split", "pattern": {"Regex": PATTERNS[kind]}, "behavior": "Isolated", "invert": False}
		t["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, last]}
	t["model"]["ignore_merges"] = kind == "llama3"
	if kind == "qwen2":
		t["normalizer"] = {"type": "NFC"}
	return t


def some(r, items, most):
	return [r.choice(items)() for _ in range(r.randint(0, most))]


def sequence(kind, members):
	if not members:
		return None
	return members[0] if len(members) == 1 else {"type": "Sequence", kind: members}


def random_tokenizer(r):
	is_bytes = r.random() < 0.6
	t = data_file("tokenizers/byte-level.json" if is_bytes else "stories/tokenizer.json")
	behavior = lambda: r.choice(["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"])
	regexes = [r"\s+", r"\p{N}{1,3}", r"\w+|[^\w\s]+", r"[a-c]*", r"(?i)the|\bhe", r"\p{Lu}\p{Ll}*", r"^a|b$",
		r"x(?=y)|(?<=a) ", r"[\s\p{P}]", r"\d", r"\S", r"\W+", PATTERNS["llama3"], r"(?:ab|a)+?",
		r"[^\S\n]+", r"\u00e9|\x{301}"]
	split = lambda: {"type": "Split", "pattern": r.choice([{"Regex": r.choice(regexes)},
		{"String": r.choice([" ", "a", "th", "\n", "é"])}]), "behavior": behavior(), "invert": r.random() < 0.3}
	pre = [split, split, split, lambda: {"type": "Digits", "individual_digits": r.random() < 0.5},
		lambda: {"type": "Punctuation", "behavior": behavior()}, lambda: {"type": "Whitespace"},
		lambda: {"type": "WhitespaceSplit"}]
	norm = [lambda: {"type": r.choice(["NFC", "NFD", "NFKC", "NFKD", "Lowercase"])},
		lambda: {"type": "Strip", "strip_left": r.random() < 0.5, "strip_right": r.random() < 0.5},
		lambda: {"type": "Replace", "content": r.choice(["", "X", " ", "ee"]),
			"pattern": r.choice([{"String": "a"}, {"Regex": r"\s+"}, {"Regex": "b+"}, {"String": "é"}])},
		lambda: {"type": "Prepend", "prepend": r.choice([" ", "\u2581", "ab"])}]
	steps = some(r, pre, 2)
	if is_bytes:
		steps.append({"type": "ByteLevel", "add_prefix_space": r.random() < 0.4, "trim_offsets": True,
			"use_regex": r.random() < 0.6})
	elif r.random() < 0.6:
		steps.append({"type": "Metaspace", "replacement": "\u2581",
			"prepend_scheme": r.choice(["always", "first", "never"]), "split": r.random() < 0.5})
	t["pre_tokenizer"] = sequence("pretokenizers", steps)
	old = t["normalizer"] if not is_bytes and r.random() < 0.5 else None
	# What "first" means after a normalizer that changes the beginning depends on their bookkeeping of offsets.
	if '"first"' not in json.dumps(steps):
		t["normalizer"] = sequence("normalizers", some(r, norm, 2) + ([old] if old else []))
	else:
		t["normalizer"] = None
	t["model"]["ignore_merges"] = r.random() < 0.3
	t["model"]["fuse_unk"] = r.random() < 0.5
	if not is_bytes:
		t["model"]["byte_fallback"] = r.random() < 0.7
	top = max([*t["model"]["vocab"].values(), *(a["id"] for a in t["added_tokens"])])
	known = [*t["model"]["vocab"], *(a["content"] for a in t["added_tokens"])]
	contents = r.sample(["<tool>", "<|x|>", "the", "é", "A B", " ", "  ", "ab", "abc", "<t", "\n\n", "\u2581a"],
		r.randint(0, 6))
	# White space that one token took with it and another one matches is given out twice by theirs.
	spaces = any(not content.strip() for content in contents)
	for old_token in t["added_tokens"]:
		old_token["rstrip"] = old_token["rstrip"] and not spaces
	# At most one of them: normalizers may make them the same text, and then which one theirs takes is left to chance.
	for content in [content for content in contents if not content.strip()][1:]:
		contents.remove(content)
	for content in contents:
		if content in known:
			continue
		top += 1
		special = r.random() < 0.4
		t["added_tokens"].append({"id": top, "content": content, "single_word": r.random() < 0.3,
			"lstrip": r.random() < 0.3, "rstrip": r.random() < 0.3 and not spaces, "normalized": r.random() < 0.5,
			"special": special})
	return t


ALPHABET = ["a", "b", "c", "the", "The", " ", "  ", "   ", "\n", "\r\n", "\t", "1", "23", "4567", "é", "e\u0301",
	"日本", "語", "'s", "'LL", ".", "!?", "<tool>", "<|x|>", "<t", "ab", "abc", "A B", "\u2581", "\u2581a",
	"<s>", "<unk>",
	"\u00a0", "\u3000", "\u200d", "😀", "👩\u200d👧", "ſ", "\u212a", "İ", "ﬁ", "½", "²", "_",
	"-", "\u0660", "Ⅷ", "xy",
	" he", "\u1e9b\u0323", "\u212b", "\uac00", "\u1100\u1161", "\u0345", "Once upon a time", "<0x41>", "\x7f", "\x01"]


def random_texts(r, n):
	return [""] + ["".join(r.choice(ALPHABET) for _ in range(r.randint(1, 14))) for _ in range(n)]


def guarded(name, texts, special):
	"""hugging() in a process of its own: with some tokenizers theirs panics, never ends or takes all memory."""
	code = ("import json, resource, sys\nfrom tokenizers import Tokenizer\n"
		"resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
		"t = Tokenizer.from_file(sys.argv[1])\nt.encode_special_tokens = sys.argv[2] == 'False'\n"
		"print(json.dumps([t.encode(text, add_special_tokens=False).ids for text in json.load(sys.stdin)]))\n")
	try:
		done = subprocess.run([sys.executable, "-c", code, name, str(special)], input=json.dumps(texts).encode(),
			stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20, check=False)
	except subprocess.TimeoutExpired:
		return None, "no end"
	if done.returncode != 0:
		return None, (done.stderr.decode().strip() or "killed").split("\n")[-1][:60]
	return json.loads(done.stdout), ""


def random_steps(n):
	r = random.Random(SEED)
	refused = {}
	panics = {}
	compared = 0
	for i in range(n):
		t = random_tokenizer(r)
		texts = random_texts(r, 120)
		name = write("random.json", json.dumps(t))
		for special in (True, False):
			theirs, why = guarded(name, texts, special)
			if theirs is None:
				panics[why] = panics.get(why, 0) + 1
				break
			mine, why = ours(name, texts, "special" if special else "ids")
			if mine is None:
				why = why.split(": ", 2)[-1].strip()
				refused[why] = refused.get(why, 0) + 1
				break
			compared += 1
			if not report(f"random {i} special {special}", mine, theirs, texts, quiet=True):
				print("  ", {k: t[k] for k in ("normalizer", "pre_tokenizer", "added_tokens")})
				break
			if special:
				written, why = our_json(name)
				if written is None:
					report(f"random {i}: {why}", None, [], texts)
				elif not report(f"random {i}, theirs on what we write", guarded(written, texts, True)[0], theirs, texts,
						quiet=True):
					print("  ", {k: t[k] for k in ("normalizer", "pre_tokenizer", "added_tokens")})
	print(f"       {n} tokenizers drawn, {compared} comparisons; refused: {refused}; theirs fails: {panics}")


# ---- 3. Every character

def every_character():
	codes = [c for c in range(1, 0x110000) if not 0xd800 <= c < 0xe000 and
		(c < 0x30000 or 0xe0000 <= c < 0xe0200 or c % 997 == 0)]
	texts = [f"a{chr(c)}b {chr(c)} 1{chr(c)}{chr(c)}' {chr(c)}S" for c in codes]
	split = lambda regex: {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
	kinds = {"gpt2": [split(PATTERNS["gpt2"])], "llama3": [split(PATTERNS["llama3"])],
		"qwen2": [split(PATTERNS["qwen2"])],
		"words": [split(r"\w+")], "no words": [split(r"\W+")], "[words]": [split(r"[\w_]+")],
		"[no words]": [split(r"[^\w_]+")],
		"spaces": [split(r"\s+")], "[no spaces]": [split(r"[^\sx]+")],
		"digits": [{"type": "Digits", "individual_digits": False}],
		"\\d": [split(r"\d+")], "whitespace": [{"type": "Whitespace"}], "white space": [{"type": "WhitespaceSplit"}],
		"punctuation": [{"type": "Punctuation", "behavior": "Isolated"}], "case": [split(r"(?i:[k-s]|\u00e5)+")],
		"lowercase": [], "nfkc": [], "nfkd": [], "nfd": []}
	for kind, steps in kinds.items():
		t = byte_level("gpt2")
		# The space before each split shows where these are.
		t["pre_tokenizer"].update({"use_regex": False, "add_prefix_space": True})
		t["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [*steps, t["pre_tokenizer"]]}
		if kind in ("lowercase", "nfkc", "nfkd", "nfd"):
			t["normalizer"] = {"type": kind.capitalize() if kind == "lowercase" else kind.upper()}
		name = write("all.json", json.dumps(t))
		mine, theirs = ours(name, texts, "special")[0], hugging(name, texts)[0]
		other = [c for c, a, b in zip(codes, mine, theirs) if a != b]
		new = [c for c in other if unicodedata.category(chr(c)) == "Cn"]
		print(f"       {kind}: {len(codes)} characters, {len(other)} differ, of these unassigned in Unicode "
			f"{unicodedata.unidata_version}: {len(new)}", [hex(c) for c in other if c not in new][:40])


# ---- 4. SentencePiece

def trained(r, text, **options):
	out = io.BytesIO()
	sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(text), model_writer=out, model_type="bpe",
		vocab_size=600, normalization_rule_name="identity", minloglevel=2, **options)
	return out.getvalue()


def vocab_gguf(name, model):
	from sentencepiece import sentencepiece_model_pb2
	m = sentencepiece_model_pb2.ModelProto()
	m.ParseFromString(model)
	w = gguf.GGUFWriter(path(name), "llama")
	w.add_tokenizer_model("llama")
	w.add_token_list([p.piece for p in m.pieces])
	w.add_token_scores([p.score for p in m.pieces])
	w.add_token_types([p.type for p in m.pieces])
	w.add_bos_token_id(1)
	w.add_add_space_prefix(m.normalizer_spec.add_dummy_prefix)
	w.add_remove_extra_whitespaces(m.normalizer_spec.remove_extra_whitespaces)
	w.write_header_to_file()
	w.write_kv_data_to_file()
	w.close()
	return path(name)


def sentence_pieces():
	r = random.Random(SEED)
	with open(os.path.join(SHARED, "data/text/tinystories/split_calib_ascii.txt"), encoding="utf-8") as file:
		lines = [line for line in file.read(200000).split("\n") if line]
	lines += ["日本語 é ü naïve ½", "1234 5678 90"] * 20 + ["\u0416\u0417 \u4e2d"]
	kinds = {
		"plain": {}, "bytes": {"byte_fallback": True}, "no-prefix": {"add_dummy_prefix": False},
		"keep-space": {"remove_extra_whitespaces": False, "byte_fallback": True, "allow_whitespace_only_pieces": True},
		"user": {"user_defined_symbols": ["<x>", "the", "ab", "\u2581\u2581"], "byte_fallback": True,
			"remove_extra_whitespaces": False},
		"user-no-prefix": {"user_defined_symbols": ["<x>", "the", "ab", "\u2581\u2581"], "byte_fallback": True,
			"remove_extra_whitespaces": False, "add_dummy_prefix": False},
		"digits": {"split_digits": True, "byte_fallback": True},
		"no-split": {"split_by_whitespace": False, "byte_fallback": True},
		"coverage": {"character_coverage": 0.98}}
	texts = [text for text in random_texts(r, 1500) if "<s>" not in text and "<unk>" not in text] + lines
	for name, options in kinds.items():
		model = trained(r, lines, **options)
		file = write(name + ".model", model)
		mine, theirs = ours(file, texts, "ids")[0], pieces(file, texts)[0]
		report("sentencepiece " + name, mine, theirs, texts)
		if not name.startswith("user"):
			in_gguf = ours(vocab_gguf(name + ".gguf", model), texts, "ids")[0]
			report("sentencepiece " + name + " as GGUF", in_gguf, theirs, texts)
		written, why = our_json(file)
		if written is None:
			print("       no tokenizer.json of it:", why.strip())
		else:
			report("sentencepiece " + name + ", tokenizers on what we write", hugging(written, texts)[0], theirs, texts)


PARTS = {"1": whole_texts, "2": lambda: random_steps(400), "3": every_character, "4": sentence_pieces}
for part in sys.argv[5] if len(sys.argv) > 5 else "1234":
	print("part", part, flush=True)
	PARTS[part]()
print("failed:", failed)
sys.exit(1 if failed else 0)
