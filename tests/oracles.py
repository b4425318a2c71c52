"""Slow and obvious: what the fast code must equal."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch


def notebook_collate(batch, pad_token_id=50256, ignore_index=-100, allowed_max_length=None, device="cpu"):
    """The collate function of the notebook: padded row by row, masked by token value."""
    longest = max(len(item) + 1 for item in batch)
    inputs_list, targets_list = [], []
    for item in batch:
        padded = [*item, pad_token_id]
        padded += [pad_token_id] * (longest - len(padded))
        inputs = torch.tensor(padded[:-1])
        targets = torch.tensor(padded[1:])
        places = torch.nonzero(targets == pad_token_id).squeeze()
        if places.numel() > 1:
            targets[places[1:]] = ignore_index
        if allowed_max_length is not None:
            inputs, targets = inputs[:allowed_max_length], targets[:allowed_max_length]
        inputs_list.append(inputs)
        targets_list.append(targets)
    return torch.stack(inputs_list).to(device), torch.stack(targets_list).to(device)


def truncate_row(tokens, positions, limit, truncation):
    """`tokens` cut to `limit`, with the positions they had."""
    if limit is None or len(tokens) <= limit:
        return tokens, positions
    if truncation == "right":
        return tokens[:limit], positions[:limit]
    if truncation == "left":
        return tokens[-limit:], positions[-limit:]
    assert truncation == "keep_end"
    return [*tokens[: limit - 1], tokens[-1]], [*positions[: limit - 1], positions[-1]]


def pad_rows(
    rows,
    pad_token_id,
    *,
    ignore_index=-100,
    end_token_id=None,
    max_length=None,
    truncation="right",
    padding_side="right",
    pad_to_multiple_of=1,
    shift_labels=False,
    supervise="all",
    spans=None,
    given_labels=None,
    fillers=0,
    width=None,
):
    """`PaddingCollator`, one token at a time: (input_ids, attention_mask, labels, num_tokens, num_supervised)."""
    triples = []
    for i, row in enumerate(rows):
        tokens = list(row)
        labels = list(row) if given_labels is None else [ignore_index if n == -100 else n for n in given_labels[i]]
        if supervise == "response":
            inside = {p for start, stop in spans[i] for p in range(start, stop)}
            labels = [label if p in inside else ignore_index for p, label in enumerate(labels)]
        if end_token_id is not None:
            tokens, labels = [*tokens, end_token_id], [*labels, end_token_id]
        limit = None if max_length is None else max_length + shift_labels
        tokens, kept = truncate_row(tokens, list(range(len(tokens))), limit, truncation)
        labels = [labels[p] for p in kept]
        triples.append((tokens[:-1], labels[1:]) if shift_labels else (tokens, labels))
    triples += [([], [])] * fillers
    columns = max(1, *(len(tokens) for tokens, _ in triples)) if width is None else width
    columns = -(-columns // pad_to_multiple_of) * pad_to_multiple_of
    fill = pad_token_id if ignore_index is None else ignore_index
    ids, mask, targets = [], [], []
    for tokens, labels in triples:
        missing = columns - len(tokens)
        pieces = (tokens, [1] * len(tokens), labels), ([pad_token_id] * missing, [0] * missing, [fill] * missing)
        first, second = pieces if padding_side == "right" else pieces[::-1]
        for out, a, b in zip((ids, mask, targets), first, second, strict=True):
            out.append(list(a) + list(b))
    arrays = [np.array(out, np.int64).reshape(len(triples), columns) for out in (ids, mask, targets)]
    counted = arrays[2] if shift_labels else arrays[2][:, 1:]
    supervised = counted.size if ignore_index is None else int((counted != ignore_index).sum())
    return (*arrays, sum(len(tokens) for tokens, _ in triples), supervised)


def best_widths(lengths, counts, k):
    """The least cells any `k` widths need, by trying them all."""
    best = None
    longest = max(lengths)
    for chosen in combinations(lengths, min(k, len(lengths))):
        if chosen[-1] != longest:
            continue
        cells = sum(
            count * next(width for width in chosen if width >= length)
            for length, count in zip(lengths, counts, strict=True)
        )
        best = cells if best is None else min(best, cells)
    return best


def pack_rows(
    rows,
    packs,
    pad_token_id,
    *,
    width=None,
    layout="rows",
    ignore_index=-100,
    supervise="all",
    keys="plain",
    attention_mask=False,
    spans=None,
    cuts=None,
    given_labels=None,
):
    """`PackingCollator`, one token at a time: (what it holds by name, num_tokens, num_supervised).

    `packs` lists the numbers of the rows of each pack; `spans` count from `cuts[i]` tokens before row `i`.
    """
    pad = (pad_token_id, ignore_index, 0, -1)
    if layout == "flat":
        packs = [[i for pack in packs for i in pack]]
        width = max(1, sum(len(row) for row in rows))
    elif width is None:
        width = max(1, *(sum(len(rows[i]) for i in pack) for pack in packs))
    table, edges = [], [0]
    for pack in packs:
        cells = []
        for document, i in enumerate(pack):
            for position, token in enumerate(rows[i]):
                there = position + (0 if cuts is None else cuts[i])
                wanted = supervise == "all" or any(start <= there < stop for start, stop in spans[i])
                label = token if given_labels is None else given_labels[i][position]
                wanted = wanted and position > 0 and (given_labels is None or label != -100)
                cells.append((token, label if wanted else ignore_index, position, document))
            edges.append(len(cells))
        table.append(cells + [pad] * (width - len(cells)))
    columns = np.moveaxis(np.array(table, np.int64).reshape(len(packs), width, 4), 2, 0)
    found = dict(zip(("input_ids", "labels", "position_ids", "document_ids"), columns, strict=True))
    tokens, supervised = sum(len(row) for row in rows), int((found["labels"] != ignore_index).sum())
    if attention_mask:
        found["attention_mask"] = np.array([[int(cell is not pad) for cell in cells] for cells in table])
    if keys == "transformers":
        del found["document_ids"]
        found["use_cache"] = False
    if layout == "flat":
        edges = np.array(edges if len(edges) > 1 else [0, 1], np.int32)
        longest = max([1, *(len(row) for row in rows)])
        if keys == "plain":
            return {**found, "cu_seqlens": edges, "max_seqlen": longest}, tokens, supervised
        found |= {"cu_seq_lens_q": edges, "cu_seq_lens_k": edges, "max_length_q": longest, "max_length_k": longest}
    return found, tokens, supervised


def spans_of(weights):
    """The flat (start, stop) pairs of consecutive targets of one weight, and the weight of each."""
    pairs, found = [], []
    for i, weight in enumerate(weights):
        if weight and i and weights[i - 1] == weight:
            pairs[-1] = i + 1
        elif weight:
            pairs += [i, i + 1]
            found.append(weight)
    return pairs, found


def repeated_records(records):
    """The numbers of the records whose tokens an earlier one has; records are (token, whether a target) pairs."""
    tokens = [[token for token, _ in record] for record in records]
    return [i for i, row in enumerate(tokens) if row in tokens[:i]]


def shares_of_targets(records, bins):
    """(records, tokens, targets) of each (first, last) length."""
    shares = []
    for first, last in bins:
        found = [record for record in records if first <= len(record) <= last]
        shares.append((len(found), sum(map(len, found)), sum(target for record in found for _, target in record)))
    return shares
