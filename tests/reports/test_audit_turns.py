"""What `audit` says of turns and ends is what a loop over each record's tokens says, however broken it is."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from planted import CHAT, END, ID, START, STOP, write

from fastcollate import audit

ENDS = {STOP, END, ID["<|eot_id|>"], ID["<|end|>"]}
ROLES = ("user", "assistant", "system")
PARTS = [[START], [STOP], [END], [10], [*b"x"], [*b"assistant"], [START, *b"user"], [START, *b"assistant", 10]]
records_of_parts = st.lists(
    st.lists(st.tuples(st.sampled_from(PARTS), st.booleans()), min_size=1, max_size=8), min_size=1, max_size=12
)


def turns_of(tokens):
    """(role, begin, body, stop) of each turn."""
    begins = [i for i, token in enumerate(tokens) if token == START]
    for begin, stop in pairwise([*begins, len(tokens)]):
        after = tokens[begin + 1 : stop]
        role = next((role for role in ROLES if after[: len(role)] == list(role.encode())), "")
        yield role or "other", begin, begin + 1 + len(role), stop


def is_unended(tokens, learnt, begin, stop):
    places = [i for i in range(begin, stop) if learnt[i]]
    if not places:
        return False
    last = places[-1]
    return tokens[last] not in ENDS and (last == begin or tokens[last - 1] not in ENDS)


def faults(tokens, learnt):
    turns = list(turns_of(tokens))
    targets = [token for token, target in zip(tokens, learnt, strict=True) if target]
    said = [token for token in targets if token != 10]
    stretches = [(body, stop) for _, _, body, stop in turns] or [(0, len(tokens))]
    found = {
        "no_target": not any(learnt[1:]),
        "end_only": 0 < len(said) <= 2 and set(said) <= ENDS,
        "no_end": any(is_unended(tokens, learnt, *stretch) for stretch in stretches),
        "open_turn": bool(turns) and not ENDS & set(tokens[turns[-1][2] : turns[-1][3]]),
        "doubled_bos": len(tokens) > 1 and tokens[0] == tokens[1] and tokens[0] >= 256,
        "learnt_role": any(any(learnt[begin:body]) for _, begin, body, _ in turns),
    }
    return {kind for kind, has in found.items() if has}


@given(records_of_parts, st.sampled_from([2, 100]))
def test_faults_and_roles_are_those_of_a_loop(tmp_path_factory, parts, per_shard):
    records = [[(token, target) for tokens, target in record for token in tokens] for record in parts]
    audited = audit(write(tmp_path_factory.mktemp("any") / "s", records, per_shard=per_shard), encoding=CHAT)
    expected, roles = {}, Counter()
    for i, record in enumerate(records):
        tokens, learnt = zip(*record, strict=True)
        for kind in faults(list(tokens), learnt):
            expected.setdefault(kind, []).append(i)
        for role, begin, _, stop in turns_of(list(tokens)):
            roles.update(
                {(role, "turns"): 1, (role, "tokens"): stop - begin, (role, "targets"): sum(learnt[begin:stop])}
            )
    found = {finding.kind: finding.records.tolist() for finding in audited.findings if finding.kind != "duplicate"}
    assert found == expected
    shares = {share.role: share for share in audited.by_role if share.turns}
    assert {(role, name): getattr(shares[role], name) for role, name in roles} == dict(roles)
    assert sum(share.targets for share in audited.by_role) in (0, audited.targets)
