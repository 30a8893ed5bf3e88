"""What a preview plans, and what differs between two plans."""

from __future__ import annotations

import json
from typing import Any

import pytest

from esteira.review import compare, difference
from esteira.review.plan import Kind, read
from esteira.review.values import Hidden, cleaned, shown
from localcloud.provider.values import UNKNOWN as NOT_KNOWN
from tests.esteira.reviews import (
    BUCKET,
    MEMBER,
    RECORDED,
    ROOT,
    SUBSCRIPTION,
    TABLE,
    TOPIC,
    UNKNOWN,
    created,
    plan,
    resource,
    urn,
)


class TestRecorded:
    """A preview of the engine with a state."""

    def test_each_change_is_told_once_with_what_forces_it(self) -> None:
        found = {one.resource.name: one for one in read(RECORDED["digest"], ROOT).changes}
        assert {name: (one.kind, one.reasons) for name, one in found.items()} == {
            "n": (Kind.DELETE, ()),
            "t": (Kind.REPLACE, ("name",)),
            "s": (Kind.REPLACE, ("topic",)),
            "tab": (Kind.REPLACE, ("schema",)),
            "sv": (Kind.REPLACE, ("secretData",)),
        }

    def test_old_and_new_values_are_those_of_the_state_and_of_the_program(self) -> None:
        found = {one.resource.name: one for one in read(RECORDED["digest"], ROOT).changes}
        assert difference.lines(found["s"]) == [
            "-ackDeadlineSeconds: 10",
            "+ackDeadlineSeconds: 20",
            "! topic forces a replacement",
            '-topic: "projects/esteira-prod/topics/topic-one"',
            "+topic: known after it is made",
        ]

    def test_a_secret_that_changes_says_so_and_no_more(self) -> None:
        found = {one.resource.name: one for one in read(RECORDED["digest"], ROOT).changes}
        assert difference.lines(found["sv"]) == [
            "! secretData forces a replacement",
            "-secretData: [secret]",
            "+secretData: [secret, another value]",
        ]

    def test_what_stays_is_known_too(self) -> None:
        found = read(RECORDED["digest"], ROOT)
        stays = {"t", "s", "tab", "sv", "b", "sec"}
        assert {one.name for one in found.resources.values()} == stays
        assert {one.name for one in found.before.values()} == {*stays, "n"}


class TestGrouping:
    def test_a_resource_belongs_to_the_outermost_component_and_its_providers_product(self) -> None:
        stream = "esteira:event_stream:EventStream"
        letters = f"{stream}$esteira:dead_letters:DeadLetters"
        outer: dict[str, Any] = {
            "op": "create",
            "urn": urn(stream, "flights"),
            "newState": {
                "type": stream,
                "custom": False,
                "parent": urn("pulumi:pulumi:Stack", "esteira-prod"),
            },
        }
        inner = {
            "op": "create",
            "urn": urn(letters, "flights-dead-letters"),
            "newState": {"type": letters, "custom": False, "parent": outer["urn"]},
        }
        found = plan(outer, inner, created(TOPIC, parent=inner["urn"])).resources
        assert [(one.component, one.product) for one in found.values()] == [
            ("EventStream flights", "flight-delay")
        ]

    def test_a_label_says_more_than_the_provider_and_without_either_it_is_the_platforms(
        self,
    ) -> None:
        found = plan(
            created(TOPIC, "labelled", inputs={"labels": {"product": "churn"}}),
            created(TOPIC, "alone", provider=""),
        ).resources
        assert {one.name: one.product for one in found.values()} == {
            "labelled": "churn",
            "alone": "platform",
        }

    def test_components_and_providers_are_no_resources(self) -> None:
        assert plan().resources == {}


class TestValues:
    @pytest.mark.parametrize(
        "inputs",
        [
            {"password": "hunter2"},
            {"rootPassword": "hunter2"},
            {"settings": [{"secretData": "hunter2"}]},
            {"sensitiveLabels": {"authToken": "hunter2"}},
            {"envs": [{"name": "SLACK_TOKEN", "value": "hunter2"}]},
            {"data": {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
                      "plaintext": "hunter2"}},
        ],
    )  # fmt: skip
    def test_a_secret_is_shown_nowhere_marked_or_not(self, inputs: dict[str, Any]) -> None:
        before = resource("gcp:x/y:Z", **cleaned(inputs, ROOT))
        text = json.dumps(inputs).replace("hunter2", "hunter3")
        after = resource("gcp:x/y:Z", **cleaned(json.loads(text), ROOT))
        assert "hunter" not in shown(before.inputs)
        (change,) = compare.changes({before.urn: before}, {after.urn: after})
        lines = difference.lines(change)
        assert any("[secret" in line for line in lines)
        assert "hunter" not in "".join(lines)

    def test_references_to_secrets_are_no_secrets(self) -> None:
        inputs = {
            "secretId": "slack",
            "secret": "projects/p/secrets/slack",
            "tokenCreator": "a@b.c",
            "deletionProtection": True,
        }
        assert cleaned(inputs, ROOT) == inputs

    def test_the_checkouts_path_is_shown_nowhere(self) -> None:
        build = {"context": str(ROOT), "dockerfile": f"{ROOT}/workloads/Dockerfile"}
        assert cleaned({"build": build}, ROOT) == {
            "build": {"context": ".", "dockerfile": "workloads/Dockerfile"}
        }

    def test_what_is_not_known_yet_says_so(self) -> None:
        found = cleaned({"topic": UNKNOWN, "env": f"A={UNKNOWN}"}, ROOT)
        assert found == {"topic": NOT_KNOWN, "env": NOT_KNOWN}
        assert shown(found["topic"]) == '"known after it is made"'

    def test_signs_that_turn_or_break_a_line_are_spelt_out(self) -> None:
        assert shown("a\nb\u202ec\u200b") == '"a\\nb\\u202ec\\u200b"'

    def test_blinded_secrets_are_taken_as_equal(self) -> None:
        assert cleaned({"content": "[secret]"}, ROOT) == {"content": Hidden()}


class TestComparison:
    def test_the_same_plan_has_no_changes(self) -> None:
        one = resource(TOPIC, name_="x", schemaSettings={"schema": NOT_KNOWN})
        assert compare.changes({one.urn: one}, {one.urn: one}) == ()

    def test_what_comes_and_what_goes(self) -> None:
        old, new = resource(TOPIC, "old"), resource(TOPIC, "new")
        found = compare.changes({old.urn: old}, {new.urn: new})
        assert [(one.kind, one.resource.name) for one in found] == [
            (Kind.DELETE, "old"),
            (Kind.CREATE, "new"),
        ]

    @pytest.mark.parametrize(
        ("token", "before", "after", "kind", "reasons"),
        [
            (TOPIC, {"name": "aaa"}, {"name": "bbb"}, Kind.REPLACE, ("name",)),
            (TOPIC, {"labels": {"a": "1"}}, {"labels": {"a": "2"}}, Kind.UPDATE, ()),
            (BUCKET, {"location": "US"}, {"location": "EU"}, Kind.REPLACE, ("location",)),
            (BUCKET, {"versioning": {"enabled": True}}, {}, Kind.UPDATE, ()),
            (MEMBER, {"role": "roles/a"}, {"role": "roles/b"}, Kind.REPLACE, ("role",)),
            # BigQuery adds columns that may be null, and changes the type of none.
            (TABLE, {"schema": '[{"name": "a", "type": "STRING"}]'},
             {"schema": '[{"name": "a", "type": "STRING"}, {"name": "b", "type": "INT64"}]'},
             Kind.UPDATE, ()),
            (TABLE, {"schema": '[{"name": "a", "type": "STRING"}]'},
             {"schema": '[{"name": "a", "type": "INT64"}]'}, Kind.REPLACE, ("schema",)),
        ],
    )  # fmt: skip
    def test_a_replacement_is_told_as_the_provider_tells_it(
        self,
        token: str,
        before: dict[str, Any],
        after: dict[str, Any],
        kind: Kind,
        reasons: tuple[str, ...],
    ) -> None:
        old = resource(token)
        old = type(old)(urn=old.urn, type=token, name="one", inputs=before)
        new = type(old)(urn=old.urn, type=token, name="one", inputs=after)
        (found,) = compare.changes({old.urn: old}, {new.urn: new})
        assert (found.kind, found.reasons) == (kind, reasons)

    def test_changes_that_the_program_ignores_are_none(self) -> None:
        old = resource(TOPIC, labels={"a": "1"})
        new = resource(TOPIC, labels={"a": "2"}, ignored=("labels",))
        assert compare.changes({old.urn: old}, {new.urn: new}) == ()

    def test_protection_that_is_taken_off_is_a_change(self) -> None:
        old, new = resource(BUCKET, protect=True), resource(BUCKET)
        (found,) = compare.changes({old.urn: old}, {new.urn: new})
        assert difference.lines(found) == ["-protect: true", "+protect: false"]

    def test_an_unknown_value_that_comes_from_elsewhere_is_a_change(self) -> None:
        one, other = resource(TOPIC, "one"), resource(TOPIC, "other")
        old = resource(SUBSCRIPTION, "s", topic=NOT_KNOWN, dependencies={"topic": (one.urn,)})
        new = resource(SUBSCRIPTION, "s", topic=NOT_KNOWN, dependencies={"topic": (other.urn,)})
        found = compare.changes(
            {x.urn: x for x in (one, other, old)}, {x.urn: x for x in (one, other, new)}
        )
        assert [(x.kind, x.differences[0].moved) for x in found] == [(Kind.REPLACE, ("other",))]

    def test_a_subscription_goes_with_its_topic(self) -> None:
        def side(name: str) -> dict[str, Any]:
            topic = resource(TOPIC, "t", labels={}, project=name)
            reader = resource(
                SUBSCRIPTION, "s", topic=NOT_KNOWN, dependencies={"topic": (topic.urn,)}
            )
            return {x.urn: x for x in (topic, reader)}

        found = compare.changes(side("one"), side("two"))
        assert {x.resource.name: x.kind for x in found} == {
            "t": Kind.REPLACE,
            "s": Kind.REPLACE,
        }


class TestDiff:
    def lines(self, before: Any, after: Any) -> list[str]:
        old, new = resource("gcp:x/y:Z", value=before), resource("gcp:x/y:Z", value=after)
        (change,) = compare.changes({old.urn: old}, {new.urn: new})
        return difference.lines(change)

    def test_json_texts_are_compared_by_what_they_mean_and_columns_by_name(self) -> None:
        before = [{"name": "a", "type": "STRING"}, {"name": "b", "type": "INT64"}]
        after = [{"name": "c", "type": "DATE"}, {"name": "a", "type": "STRING", "mode": "REQUIRED"}]
        assert self.lines(json.dumps(before), json.dumps(after)) == [
            '+value[a].mode: "REQUIRED"',
            '-value[b]: {"name": "b", "type": "INT64"}',
            '+value[c]: {"name": "c", "type": "DATE"}',
        ]

    def test_long_texts_are_compared_line_by_line(self) -> None:
        lines = self.lines("select a\nfrom t\nwhere x", "select a\nfrom u\nwhere x")
        assert lines == ["  value:", "   select a", "-  from t", "+  from u", "   where x"]

    def test_a_long_value_is_cut_and_says_by_how_much(self) -> None:
        (_, line) = self.lines("short", "x" * 1000)
        assert line.endswith("… (702 more characters)")

    def test_a_long_diff_is_cut_and_says_by_how_much(self) -> None:
        lines = self.lines({}, {f"k{i:03}": i for i in range(100)})
        assert len(lines) == 61
        assert lines[-1] == "  … 40 more lines"
