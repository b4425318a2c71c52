"""`python -m tools.report FILE.json --readmes`: two READMEs say what a file says, in tables and sentences."""

import doctest
from pathlib import Path

from results import PEERS, absent, figure, peer, race, results

from tools.report import documents, tables

HEAD = ["short records", "M tokens/s", "with 2 workers", "ours ÷ theirs, short", "ours ÷ theirs, long-tailed"]
HEAD += ["first batch", "resume at 99 %", "peak memory"]


def test_the_readme_shows_each_peer_at_its_best():
    assert tables.peers(PEERS) == [
        f"| {' | '.join(HEAD)} |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        "| fastcollate's loader 1.2 | 100 | 80 | 1 | 1 | 12 ms | 8 ms | 400 MB |",
        "| slow's loader | 2 | 4 | 25 | 33.3 | 40 ms | 3 s | 456 MB |",
        "| late's loader 1.2 | not run | 1 | 100 | not run | 50 ms | not measured | 456 MB |",
        "| nobody | not run: pip install a/b |  |  |  |  |  |  |",
        "",
    ]
    assert tables.peers([]) == []


def test_the_readme_shows_ours_beside_its_baselines():
    rows = [race("notebook: short, batch 32, bucketed", 4.0, 3.0, 5.0), race("row loop: short, batch 8", 9, 9, 9)]
    assert tables.races(rows)[2:] == [
        "| notebook: short, batch 32, bucketed | 5.00 | 20.0 | 4.00 (3.00 to 5.00) |",
        "",
    ]


def test_a_figure_near_a_limit_says_how_near():
    near = figure("collating batches of 32, short", 5.0, "GB/s", limit="filling the tensors", share=0.25)
    assert tables.figures([near, figure("padding, short, batch 32: plan", 99.954, "%")])[2:] == [
        "| collating batches of 32, short | 5 | GB/s, 25% of filling the tensors |",
        "| padding, short, batch 32: plan | 99.95 | % |",
        "",
    ]


def test_the_setting_is_said_in_a_sentence():
    assert tables.setting(results()["machine"]) == (
        "a processor, 2 cores, memory refilled at 20 GB/s, Python 3.11.7, NumPy 2.4.6, torch 2.13.0; "
        "medians of 7 rounds, of a loader's speed of ten parts of five seconds."
    )


def test_where_no_gpu_was_the_page_says_so():
    words = "No GPU was there: copies to one, and training on one, were not run."
    for gpu, said in ((None, True), ("H100", False)):
        assert (words in documents.results_page(results(gpu=gpu), Path("mine.json"))) == said


def test_the_readme_has_five_figures_and_what_there_is_without_us():
    rows = [peer("fastcollate", 75.46e6, resume_99_seconds=0.00996), peer("fastcollate_packed", 9e9)]
    rows += [peer("hf_datasets", 0.5e6, title="datasets", resume_99_seconds=33.7), peer("plain", 1e6)]
    rows += [peer("pad_sequence", 12e6, title="torch", version="2.13"), peer("pad_sequence", 99e6, corpus="long")]
    measured = [
        figure("padding, short, batch 32: plan", 0.3, "%"),
        figure("padding, short, batch 32: plain loop", 67.0, "%"),
        figure("packing efficiency, best_fit, short, length 2048", 99.954, "%"),
        figure("TRL's packing efficiency, bfd, short", 99.31, "%"),
        figure("TRL's packing efficiency, bfd, short, 65,536 records at once", 99.95, "%"),
        figure("bytes a real token, ragged, short, padded to 32 rows", 2.0145, "bytes"),
    ]
    assert documents.five(results(figures=measured, peers=rows)).splitlines() == [
        "| short records | fastcollate | without it |",
        "|---|---:|---|",
        "| tokens a second | 75.5 million | 12 million with torch 2.13; 0.5 million with datasets 1.2 |",
        "| resuming at 99 % of an epoch | 9.96 ms | 3 s to 33.7 s with other loaders |",
        "| padding in batches of 32 rows | 0.30 % | 67.00 % with shuffled rows |",
        "| tokens in packs of 2,048 | 99.95 % | 99.31 % with TRL; 99.95 % if it packs 65,536 records at once |",
        "| copied to a GPU for each token | 2.01 bytes | not run |",
        "",
        "Measured with 2 cores (a processor). No GPU was there: copies to one, and training on one, were not run.",
    ]
    assert documents.five(results(gpu="H100")).endswith(
        "\n\nMeasured with 2 cores (a processor) and a GPU (H100).\n"
    )
    assert documents.five(results(gpu="H100")).count("not ") == 10


def test_the_readme_changes_between_its_marks_only():
    readme = "before\n<!-- measured: old.json -->\nold\n<!-- /measured -->\nafter\n"
    content = results(peers=PEERS)
    found = documents.front_door(readme, content, "new.json")
    assert found == (f"before\n<!-- measured: new.json -->\n{documents.five(content)}<!-- /measured -->\nafter\n")
    assert documents.MARKS.search(found)["path"] == "new.json"
    assert documents.front_door(found, content, "new.json") == found


def test_what_is_not_reached_is_said_in_sentences():
    rows = [peer("fastcollate", 75e6, first_batch_seconds=0.0169, peak_pss_megabytes=318.0)]
    rows += [peer("memmap_vectorised", 50e6, peak_pss_megabytes=317.0), peer("fastcollate_packed", 9e6)]
    rows += [peer("grain", 2e6, first_batch_seconds=0.0107, peak_pss_megabytes=250.0), absent("spdl", "no")]
    races = [race(case, 0.8, 0.7, 0.9) for case in ("row loop: short, batch 8", "row loop: long-tailed", "stream")]
    assert documents.shortfalls(results(races, peers=rows)) == [
        "On short records this is not reached yet:\n",
        "- fastcollate is 1.5 times as fast as a memory map whose batches our collator pads. The aim is 2 times.",
        "- The first batch comes sooner with 1 of the other loaders: 10.7 ms, with fastcollate 16.9 ms.",
        "- Peak memory is less with 2 of the other loaders: 250 MB to 317 MB, with fastcollate 318 MB.",
        "- The baseline of “row loop: short, batch 8” is faster: the ratio is 0.80.",
        "",
    ]
    assert documents.shortfalls(results()) == []


def test_the_results_page_shows_the_pictures_that_are_there(tmp_path):
    path = tmp_path / "mine.json"
    assert "Pictures" not in documents.results_page(results(), path)
    (tmp_path / "mine").mkdir()
    for name in ("padding", "limits"):
        (tmp_path / "mine" / f"{name}.png").touch()
    said = documents.results_page(results(peers=PEERS), path)
    assert said.endswith(
        "\n## Pictures\n\n![How near the hot paths come to physical limits](mine/limits.png)\n\n"
        "![Padding against batch size](mine/padding.png)\n"
    )
    assert "\n".join(tables.peers(PEERS)) in said


def test_seconds_are_in_a_unit_people_read():
    assert doctest.testmod(tables) == (0, 2)
    assert [tables.duration(value) for value in (0.0005, 0.25, 1.0, 75.25, None)] == [
        "0.5 ms",
        "250 ms",
        "1 s",
        "75.2 s",
        "not measured",
    ]
