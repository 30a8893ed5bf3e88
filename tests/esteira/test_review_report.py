"""What a reviewer reads."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from esteira.review import markdown, outputs, plain, run
from esteira.review.outputs import OutputChange
from esteira.review.planned import Planned
from esteira.review.report import document
from esteira.review.result import Basis, Comparison, Review
from localcloud.provider.values import UNKNOWN as NOT_KNOWN
from tests.esteira.reviews import (
    BUCKET,
    RECORDED,
    SERVICE,
    TOPIC,
    finding,
    resource,
    reviewed,
    sample,
)


def comment(review: Review) -> str:
    return markdown.render(document(review))


class TestComment:
    def test_it_begins_with_what_a_workflow_finds_it_by(self) -> None:
        assert comment(reviewed([], [])).startswith("<!-- esteira-preview:prod -->\n")

    def test_where_nothing_changes_it_says_nothing_else(self) -> None:
        bucket = resource(BUCKET, name_="b")
        words = re.sub(r"\s+", " ", comment(reviewed([bucket], [bucket])))
        assert words == (
            "<!-- esteira-preview:prod --> ### Preview of `prod` Compared with the program at "
            "`origin/main` (`0123456789`), without state: both are planned. Secret values are not "
            "compared. **No changes.** "
        )

    def test_it_is_the_same_each_time(self) -> None:
        before = [resource(TOPIC, name) for name in "abc"]
        after = [resource(BUCKET, name, labels={"x": "1", "a": "2"}) for name in "cba"]
        assert comment(reviewed(before, after)) == comment(reviewed(before[::-1], after[::-1]))

    def test_lost_data_comes_before_all_else_and_says_why(self) -> None:
        old = resource(BUCKET, "landing", location="US", protect=True)
        new = resource(BUCKET, "landing", location="EU", protect=True)
        text = comment(reviewed([old, resource(TOPIC, "gone")], [new]))
        alert = text[text.index("> [!CAUTION]") :].split("\n\n")[0].splitlines()
        title, first, second = alert[1:]
        assert title == "> **Resources that hold data or state: 1 deleted, 1 replaced**"
        assert first == (
            "> - **deleted** `pubsub.Topic gone`, which no longer is in the program; with it go "
            "its retained messages and every subscription"
        )
        assert second == (
            "> - **replaced** `storage.Bucket landing`, because `location` cannot be changed in "
            "place; the old one goes with its objects. It is protected: the update fails until the "
            "protection is off"
        )
        assert text.index("[!CAUTION]") < text.index("#### platform")

    def test_changes_are_grouped_by_product_and_component_with_counts(self) -> None:
        one = resource(TOPIC, "t", product="churn", component="EventStream churn")
        two = resource(BUCKET, "b", product="platform", component="LandingZone shared")
        text = comment(reviewed([], [one, two]))
        assert "**" not in text.split("\n\n")[3], "what comes is not loud"
        assert text.index("#### churn (1 to create)") < text.index("#### platform (1 to create)")
        assert "<summary><code>EventStream churn</code> (1 to create)</summary>" in text

    def test_a_new_stack_is_told_by_counts_and_not_by_properties(self) -> None:
        many = [resource(TOPIC, f"t{i}", component="EventStream a", labels={}) for i in range(200)]
        review = reviewed([], many, comparison=Comparison(basis=Basis.NOTHING))
        text = comment(review)
        assert "200 to create." in text
        assert "| platform | `EventStream a` | 200 |" in text
        assert "```diff" not in text

    def test_what_could_not_be_compared_says_why(self) -> None:
        missing = Comparison(basis=Basis.NOTHING, ref="main", note="main has no Pulumi.prod.yaml")
        text = comment(reviewed([], [resource(TOPIC)], comparison=missing))
        assert "> - `main has no Pulumi.prod.yaml`" in text

    def test_a_program_that_fails_still_gives_a_comment(self) -> None:
        failed = replace(reviewed([], []), failure="error: `alerts` is 'none'\n  at <b>line</b> 3")
        text = comment(failed)
        assert "There is no preview: the program failed" in text
        assert "> - `  at <b>line</b> 3`" in text
        assert not failed.passed

    def test_the_estimate_and_its_change_are_said_to_be_one(self) -> None:
        scaling = {"scaling": {"minInstanceCount": 1}}
        containers = [{"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]
        before = resource(SERVICE, template={"containers": containers})
        after = resource(SERVICE, template={"containers": containers, **scaling})
        text = comment(reviewed([before], [after]))
        assert "This change: **+13.14 USD**" in text
        assert "| `cloudrunv2.Service one` | 0.00 | 13.14 |" in text
        assert "An estimate, not an offer. It leaves out taxes" in text
        assert "does not change the estimate" in comment(
            reviewed([after], [resource(SERVICE, template=after.inputs["template"], labels={})])
        )


class TestPolicies:
    def test_a_violation_fails_the_review_and_is_loud(self) -> None:
        review = replace(reviewed([], []), findings=(finding("bucket-versioning"),))
        assert not review.passed
        text = comment(review)
        assert "> **1 violation(s) of mandatory policies: the update is refused**" in text
        expected = "`bucket-versioning` `landing`: `versioning.enabled` is not set. Set it. (house)"
        assert f"> - {expected}" in text

    def test_advice_and_what_is_not_decided_yet_fail_nothing(self) -> None:
        review = replace(
            reviewed([], [resource(TOPIC)]),
            findings=(finding("a", mandatory=False), finding("b", decided=False)),
        )
        assert review.passed
        assert "Policies: no mandatory one broken; 1 advisory, 1 not decided yet" in comment(review)

    def test_policies_that_were_not_asked_are_not_said_to_have_passed(self) -> None:
        review = replace(reviewed([], [resource(TOPIC)]), judged=False)
        assert "Policies were not checked." in comment(review)


class TestOutputs:
    def test_a_renamed_output_names_what_takes_its_place(self) -> None:
        found = outputs.changes(
            {"flight_landing": "gs://a", "esteira": NOT_KNOWN},
            {"flight_landing_bucket": "gs://a", "esteira": NOT_KNOWN},
            {},
            {},
        )
        assert found == (
            OutputChange(
                name="flight_landing", breaks=True, what="renamed", instead="flight_landing_bucket"
            ),
        )

    def test_the_same_value_says_more_than_a_like_name(self) -> None:
        before = {"churn_topic": "projects/p/topics/churn"}
        after = {"churn_topics": "projects/p/topics/other", "where": "projects/p/topics/churn"}
        assert outputs.changes(before, after, {}, {})[0].instead == "where"

    def test_an_output_that_is_gone_says_that_nothing_replaces_it(self) -> None:
        review = reviewed([], [], outputs=outputs.changes({"x": NOT_KNOWN}, {}, {}, {}))
        assert "> - `x` is removed; nothing takes its place" in comment(review)

    def test_a_field_of_the_versioned_output_that_is_renamed(self) -> None:
        def schema(field: str, version: int = 1) -> dict[str, object]:
            return {
                "properties": {"version": {"const": version}},
                "$defs": {
                    "Training": {
                        "properties": {field: {"type": "string"}},
                        "required": [field],
                    }
                },
            }

        (found,) = outputs.changes({}, {}, schema("pipeline_root"), schema("pipeline_folder"))
        assert (found.name, found.instead) == (
            "esteira: Training.pipeline_root",
            "Training.pipeline_folder",
        )
        assert outputs.changes({}, {}, schema("a"), schema("a")) == ()
        (versioned,) = outputs.changes({}, {}, schema("a"), schema("a", version=2))
        assert versioned.what == "version 1 becomes 2"

    def test_fields_of_known_documents_are_compared_and_values_told(self) -> None:
        found = outputs.changes(
            {"esteira": {"a": {"b": "x"}}, "topic": "one"},
            {"esteira": {"a": {"c": "x"}}, "topic": "two"},
            {},
            {},
        )
        assert [(one.name, one.what, one.instead, one.breaks) for one in found] == [
            ("esteira.a.b", "renamed", "esteira.a.c", True),
            ("topic", 'was "one", becomes "two"', "", False),
        ]


class TestEscaping:
    NASTY = (
        "```\n</details><script>alert(1)</script> | @octocat #1 `x` [a](https://e.vil) <!-- -->"
        " **b** _c_ :tada: \u202e"
    )

    def test_nothing_in_a_value_acts_as_markup(self) -> None:
        old = resource(TOPIC, "t", component=f"EventStream {self.NASTY}", labels={"a": "1"})
        new = replace(old, inputs={"labels": {"a": self.NASTY}})
        text = comment(reviewed([old], [new]))
        assert text.count("</details>") == text.count("<details") + text.count(
            '+labels.a: "```\\n</details>'
        )
        body = text[text.index("````diff") :]
        assert body.startswith("````diff\n"), "the fence is longer than any in the value"
        assert "\u202e" not in text
        assert "<script>" not in text.replace(body[: body.index("\n````\n")], "")

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("@octocat", "&#64;octocat"),
            ("see #1", "see &#35;1"),
            ("a < b & c", "a &lt; b &amp; c"),
            ("**b** _c_ [d](e)", r"\*\*b\*\* \_c\_ \[d\](e)"),
            ("snake_case", "snake_case"),
            (":tada:", "&#58;tada:"),
            ("https://e.vil", "https&#58;&#47;/e.vil"),
        ],
    )
    def test_words_stay_words(self, words: str, expected: str) -> None:
        assert markdown.text(words) == expected

    @pytest.mark.parametrize(
        ("words", "expected"),
        [("a`b", "``a`b``"), ("`", "`` ` ``"), ("a|b", "`a\\|b`"), ("@x", "`@x`")],
    )
    def test_code_stays_code(self, words: str, expected: str) -> None:
        assert markdown.code(words) == expected


class TestSize:
    def big(self) -> Review:
        before = [
            resource(TOPIC, f"t{i}", component=f"EventStream {i}", labels={"a": "x" * 250})
            for i in range(400)
        ]
        after = [replace(one, inputs={"labels": {"a": "y" * 250}}) for one in before]
        gone = resource(BUCKET, "landing", component="LandingZone a")
        return reviewed([*before, gone], after)

    def test_a_comment_stays_within_githubs_limit_and_says_what_it_left_out(self) -> None:
        text = comment(self.big())
        assert len(text) <= markdown.LIMIT
        assert "part(s) left out" in text
        assert "esteira preview prod --offline --base origin/main --format text" in text

    def test_what_is_loud_stays(self) -> None:
        text = comment(self.big())
        assert "**deleted** `storage.Bucket landing`" in text
        assert "<code>LandingZone a</code> (1 to delete)" in text, "detail of losses goes last"
        assert "<code>EventStream 0</code>" in text
        assert "<code>EventStream 399</code>" not in text

    def test_it_is_cut_even_where_nothing_folds(self) -> None:
        assert len(markdown.render(document(self.big()), limit=900)) <= 900

    def test_every_fold_that_opens_closes(self) -> None:
        text = comment(self.big())
        assert text.count("<details") == text.count("</details>")


def test_a_stack_with_a_state_is_compared_with_that(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Planned(
        digest=RECORDED["digest"],
        outputs=RECORDED["outputs"],
        old_outputs=RECORDED["old"],
    )
    monkeypatch.setattr(run, "plan", lambda *_, **__: (recorded, []))
    found = run.review("prod", offline=False, base=None, judged=True, progress=lambda _: None)
    assert found.comparison.basis is Basis.STATE
    assert [(one.name, one.instead) for one in found.outputs] == [
        ("esteira.a.d", "esteira.a.c"),
        ("old", ""),
    ]
    text = comment(found)
    assert "Compared with the state of the stack." in text
    assert "1 to delete**, **4 to replace**; 2 unchanged." in text
    assert "**replaced** `bigquery.Table tab`, because `schema` cannot be changed" in text
    assert "This change does not change the estimate." in text
    assert "hunter" not in text


DOCUMENT = Path(__file__).resolve().parents[2] / "docs/pull-requests.md"


def test_the_sample_in_the_documents_is_what_is_printed() -> None:
    _, _, rest = DOCUMENT.read_text().partition("<!-- sample -->\n")
    shown, _, _ = rest.partition("<!-- end of sample -->")
    assert shown == comment(sample())


class TestOtherForms:
    def test_text_for_a_terminal_has_no_markup(self) -> None:
        old, new = resource(BUCKET, "b", location="US"), resource(BUCKET, "b", location="EU")
        text = plain.render(document(reviewed([old], [new])))
        assert "CAUTION: Resources that hold data or state: 1 replaced" in text
        assert '    +location: "EU"' in text
        assert "<details" not in text

    def test_json_for_a_program_has_all_of_it(self) -> None:
        old, new = resource(BUCKET, "b", location="US"), resource(BUCKET, "b", location="EU")
        found = json.loads(json.dumps(reviewed([old], [new]).as_dict()))
        assert found["counts"] == {"replace": 1}
        (change,) = found["changes"]
        assert change["stateful"]
        assert change["differences"] == [
            {"path": "location", "old": '"US"', "new": '"EU"', "replaces": True, "from": []}
        ]
        assert found["comparison"]["ref"] == "origin/main"
