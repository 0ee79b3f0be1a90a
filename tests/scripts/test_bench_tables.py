"""The tables that bench.py writes from what it counts."""

from bench.tables import Line, people_tables


def line(method: str, people: int, ratio: float, peak: int, weights: int = 0, family: str = "sdxl") -> Line:
    return {
        "family": family,
        "method": method,
        "people": people,
        "ratio": ratio,
        "peak_mib": peak,
        "weights_mib": weights,
    }


def test_a_row_per_method_and_a_table_per_family() -> None:
    lines: list[Line] = [
        line("instant_id", 1, 1.4312, 300),
        line("instant_id", 12, 1.4467, 512),
        line("ip_adapter_plus", 1, 1.0004, 300),
        line("others", 1, 1.02, 300),
        line("others", 12, 17.7441, 512, 512),
        line("ip_adapter_plus", 1, 1.0011, 200, family="sd15"),
        {"name": "a line of transformers", "ratio": 2.0},
    ]
    assert people_tables(lines, {"others": "with a prompt each"}) == (
        "| SDXL at 1024 px, people | 1 | 12 | memory at 12 |\n"
        "| --- | --- | --- | --- |\n"
        "| **InstantID** | 1.43 | 1.45 | 0.50 GiB |\n"
        "| **IP-Adapter Plus**, 16 tokens | 1.000 |  |  |\n"
        "| with a prompt each | 1.02 | 17.7 | 1.00 GiB |\n"
        "\n"
        "| SD1.5 at 512x768, people | 1 | memory at 1 |\n"
        "| --- | --- | --- |\n"
        "| **IP-Adapter Plus**, 16 tokens | 1.001 | 0.20 GiB |\n"
    )
