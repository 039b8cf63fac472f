"""The house as a whole: modules that import each other in a circle cannot be understood one at a time."""

import graphlib
from pathlib import Path

import grimp


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph("flprivacy", exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 200
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


def test_no_two_test_files_share_a_name() -> None:
    """Folders of tests are no packages, so pytest would refuse to collect the second one."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
