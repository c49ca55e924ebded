"""docs/onnx-layers.md has every layer type, with the opset or the reason that the converter has."""

from onnx_table import TARGET, known


def test_the_table_of_layers_in_onnx_is_up_to_date() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in TARGET.read_text().splitlines() if "|" in line]
    of_type = {row[0]: row for row in rows if row[0] not in ("type", "---")}
    told = {kind: (row[3], "") if len(row) == 6 else ("", row[2]) for kind, row in of_type.items()}
    assert told == known(), "run python tools/onnx_table.py"
