"""The commands of someone who wants numbers that can be trusted."""

import contextlib
from pathlib import Path

from keras_experts.commands.shared import configure_strategies
from keras_experts.commands.shared import give_json
from keras_experts.commands.shared import load_tensorflow


def evaluate(options) -> None:
    """Runs the protocol over a suite."""
    load_tensorflow()
    from keras_experts.evaluation.evaluating import evaluate
    from keras_experts.evaluation.protocol import Protocol
    from keras_experts.evaluation.statistics import Summary
    from keras_experts.evaluation.tables import make_tables

    configure_strategies(options)
    results = evaluate(
        options.suite,
        options.modules,
        options.output,
        options.methods,
        Protocol(
            options.sweep,
            options.repeats,
            options.runs,
            options.num_images,
            options.batch_size,
            options.base_learning_rate,
            options.swept,
        ),
        options.data_dir,
        options.oracle_runs,
        options.processes,
        options.trust,
        {name: modules for name, *modules in options.pool},
        options.trials,
    )
    content = results.to_json()
    if give_json(options.json, content):
        return
    _print_tables(results, make_tables(Summary(results)))


def report(options) -> None:
    """Writes or prints the tables of results files."""
    from keras_experts import files
    from keras_experts.evaluation.results import merge
    from keras_experts.evaluation.results import read_results
    from keras_experts.evaluation.statistics import Summary
    from keras_experts.evaluation.tables import make_notes
    from keras_experts.evaluation.tables import make_tables
    from keras_experts.evaluation.tables import to_csv
    from keras_experts.evaluation.tables import to_markdown
    from keras_experts.evaluation.tables import write_page

    paths = [Path(path) for path in options.results]
    paths = [p / "results.json" if p.is_dir() else p for p in paths]
    results = merge([read_results(path) for path in paths])
    tables = make_tables(Summary(results))
    if options.html:
        write_page(options.html, results, tables)
    asked = False
    for path, text in (
        (options.markdown, to_markdown(tables, make_notes(results))),
        (options.csv, to_csv(tables)),
    ):
        if path is None:
            continue
        if path == "-":
            asked = True
            print(text, end="")
        else:
            files.write_text(path, text)
    if not asked:
        _print_tables(results, tables)


def doctor(options) -> None:
    """Prints what is installed and what is missing."""
    with contextlib.suppress(ImportError):  # which is what it then reports
        load_tensorflow()
    import dataclasses

    from keras_experts import files
    from keras_experts.console import print_table
    from keras_experts.console import say
    from keras_experts.evaluation.doctor import clear_cache
    from keras_experts.evaluation.doctor import examine

    if options.clear_cache:
        size = clear_cache() / 2**20
        say(f"Deleted {size:,.0f} MiB of cache in {files.cache_folder()}.")
    found = examine(options.data_dir)
    content = [dataclasses.asdict(finding) for finding in found]
    if give_json(options.json, content):
        return
    print_table(
        "What is there",
        ("name", "for", "state", "which, or how to get it"),
        [(f.name, f.area, f.state, f.note) for f in found],
    )


def _print_tables(results, tables) -> None:
    from keras_experts.console import print_table
    from keras_experts.evaluation.tables import make_notes
    from keras_experts.evaluation.tables import shown

    for table in tables:
        print_table(
            f"{results.suite}: {table.title}",
            ("method", *table.columns),
            [
                (method, *(shown(cell, table.is_difference) for cell in row))
                for method, row in table.rows.items()
            ],
        )
        for method, tasks in table.missing.items():
            print(f"without a result of {method}: {', '.join(tasks)}")
    for note in make_notes(results):
        print(note)
