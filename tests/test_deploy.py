"""The files of deploy/ that other programs read: valid, and true of this version."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from core.databases import from_url
from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.api import add
from tests.support.carriers import TWILIO
from tests.support.compose import DEPLOY, Image, services
from tests.support.people import Tenant

TOKEN = "a-token-for-metrics-0123456789-abcdef"
RULES = yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text())["groups"][0]["rules"]
BOARD = json.loads((DEPLOY / "grafana.json").read_text())
COMPOSE = ["compose.yaml", "compose.mongodb.yaml", "compose.postgres.yaml", "sandbox.yaml"]
ALONE, MONGODB, POSTGRESQL, SANDBOX = COMPOSE


# -- Docker -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_files_fit_the_compose_specification(name: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "files",
    [[ALONE], [ALONE, MONGODB], [ALONE, POSTGRESQL], [ALONE, SANDBOX], [ALONE, MONGODB, SANDBOX]],
)
def test_the_containers_of_the_image_are_read_only_and_only_servers_are_asked_whether_they_are_ready(
    files: list[str],
) -> None:
    ours = {name: one for name, one in services(*files).items() if one["image"] == "workspace-phones"}
    assert ours.keys() >= {"web", "worker", "migrate"}
    for name, service in ours.items():
        assert service["env_file"] == [{"path": "../.env", "format": "raw"}], "`$` stands for itself"
        assert service.get("healthcheck") == (None if name == "web" else {"disable": True})
        if name != "sandbox":
            assert (service["read_only"], service["tmpfs"], service["cap_drop"]) == (True, ["/tmp"], ["ALL"])  # noqa: S108
    (url,) = {ours[name]["environment"]["DATABASE_URL"] for name in ("web", "worker", "migrate")}
    from_url("DATABASE_URL", url.replace("/var/lib/phones", str(DEPLOY)))


def test_the_image_says_what_it_is_and_runs_as_a_number(tmp_path: Path) -> None:
    """A name is refused by Kubernetes' runAsNonRoot: moby/buildkit#1344."""
    image = Image(tmp_path)
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in image.labels.items()}
    assert (labels["version"], labels["licenses"]) == (project["version"], "BSD-3-Clause")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image.user)


# -- Prometheus and Grafana -------------------------------------------------------------------------------------------


@pytest.fixture
def metrics(sandbox: Sandbox, tenant: Tenant, settings: Any) -> dict[str, dict[str, set[str]]]:
    """The values of each label of each sample on the page, once everything has happened."""
    settings.METRICS_TOKEN = TOKEN
    assert add(tenant, TWILIO.body(tenant.user)).status_code == 201
    reconcile()
    assert Client(headers={"Host": "elsewhere.example.com"}).get("/api/call/phones").status_code == 400
    text = Client(headers={"Authorization": f"Bearer {TOKEN}"}).get("/metrics").content.decode()
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            for label, value in sample.labels.items():
                found[sample.name][label].add(value)
            found.setdefault(sample.name, defaultdict(set))
    return found


def selected(expression: str) -> list[tuple[str, str]]:
    """Each metric that the expression names, with what is between its braces."""
    return re.findall(r"\b(phones_\w+)(?:\{([^}]*)\})?", expression)


def targets() -> list[dict[str, str]]:
    return [target for panel in BOARD["panels"] for target in panel["targets"]]


@pytest.mark.django_db(transaction=True)
def test_what_rules_and_dashboard_name_is_on_the_metrics_page(metrics: dict[str, dict[str, set[str]]]) -> None:
    expressions = [rule["expr"] for rule in RULES] + [target["expr"] for target in targets()]
    for expression in expressions:
        assert selected(expression), expression
        labels: set[str] = set()
        for name, matchers in selected(expression):
            assert name in metrics, f"{name} of {expression}"
            labels |= metrics[name].keys()
            matched = re.findall(r'(\w+)(?:=|!=)"(\w+)"', matchers)
            assert matchers.count('"') == 2 * len(matched)
            assert {label for label, _ in matched} <= metrics[name].keys(), expression
        for grouping in re.findall(r"\bby \(([^)]*)\)", expression):
            assert set(grouping.split(", ")) <= labels, expression
    for target in targets():
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= set(
            re.findall(r"\w+", "".join(re.findall(r"\bby \(([^)]*)\)", target["expr"])))
        ), target


def test_the_documented_alerts_are_those_of_the_file() -> None:
    rows = re.findall(r"^\| `(Phones\w+)` \| (.*?) \|", (PROJECT / "docs/operate.md").read_text(), re.MULTILINE)
    assert [name for name, _ in rows] == [rule["alert"] for rule in RULES]
    for (_, condition), rule in zip(rows, RULES, strict=True):
        assert set(re.findall(r"phones_\w+", condition)) == {name for name, _ in selected(rule["expr"])}


WELL = {
    "phones_database_up": "1+0x60", "phones_reconciled_seconds": "30+0x60", "phones_event_lag_seconds": "0+0x60",
    'phones_unfinished_operations{state="reserved"}': "0+0x60", 'phones_numbers{carrier="a",health="ok"}': "7+0x60",
    'phones_webhooks_total{carrier="a",verdict="kept"}': "1+5x60", 'phones_http_responses_total{status="2xx"}': "1+9x60",
    'phones_webhooks_total{carrier="unknown",verdict="refused"}': "1+5x60",
}  # fmt: skip
FAULTS = ('phones_webhooks_total{carrier="a",verdict="failed"}', 'phones_http_responses_total{status="5xx"}')
ILL: list[tuple[str, dict[str, str], set[str]]] = [
    ("nothing", {}, set()),
    ("the worker hangs", {"phones_reconciled_seconds": "500+60x60"}, {"PhonesWorkerStopped"}),
    ("it has never run", {"phones_reconciled_seconds": "_x60"}, {"PhonesWorkerStopped"}),
    ("events stay", {"phones_event_lag_seconds": "400+60x60"}, {"PhonesEventsNotMerged"}),
    (
        "an add stays",
        {'phones_unfinished_operations{state="reserved"}': "2+0x60"},
        {"PhonesOperationsUnfinished"},
    ),
    ("adds come and go", {'phones_unfinished_operations{state="reserved"}': "1 0 " * 30}, set()),
    ("drift", {'phones_numbers{carrier="a",health="drift"}': "1+0x60"}, {"PhonesNumbersUnhealthy"}),
    (
        "the first refusal since the start",
        {'phones_webhooks_total{carrier="a",verdict="refused"}': "_x30 0+0x20 1+0x9"},
        {"PhonesWebhooksRefused"},
    ),
    ("Prometheus was away", dict.fromkeys(FAULTS, "4+0x20 _x20 4+0x20"), set()),
    ("one more", {'phones_webhooks_total{carrier="a",verdict="failed"}': "4+0x50 5+0x8"}, {"PhonesWebhooksRefused"}),
    ("long ago", {'phones_webhooks_total{carrier="a",verdict="failed"}': "4+0x60"}, set()),
    ("the first error", {'phones_http_responses_total{status="5xx"}': "0+0x50 1+0x9"}, {"PhonesServerErrors"}),
    (
        "no database",
        {"phones_database_up": "0+0x60", "phones_reconciled_seconds": "_x60", "phones_event_lag_seconds": "_x60"},
        {"PhonesDatabaseDown", "PhonesWorkerStopped"},
    ),
    ("no server", dict.fromkeys(WELL, "_x60"), {"PhonesDatabaseDown", "PhonesWorkerStopped"}),
]


@pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool here")
def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "prometheus-rules.yaml", tmp_path / "rules.yaml")
    groups = [
        {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in (WELL | changed).items()],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": "59m",
                    "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(fires)],
                }
            ],
        }
        for name, changed, fires in ILL
    ]
    tests = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": groups}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests))
    done = subprocess.run(
        ["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {alert for _, _, fires in ILL for alert in fires} == {rule["alert"] for rule in RULES}
