"""What a change makes wider and what narrower."""

from __future__ import annotations

from typing import Any

import pytest

from esteira.review import compare, security
from esteira.review.plan import Resource
from esteira.review.protections import Area, Direction, judge
from localcloud.provider.values import UNKNOWN as NOT_KNOWN
from tests.esteira.reviews import BUCKET, MEMBER, SERVICE, resource

WIDER, CHANGED, NARROWER = Direction.WIDER, Direction.CHANGED, Direction.NARROWER
FIREWALL = "gcp:compute/firewall:Firewall"


def seen(before: list[Resource], after: list[Resource]) -> list[tuple[Direction, str, bool]]:
    changes = compare.changes({x.urn: x for x in before}, {x.urn: x for x in after})
    return [(one.direction, one.what, one.loud) for one in security.changes(changes)]


def member(name: str, who: str, role: str = "roles/storage.objectViewer") -> Resource:
    return resource(MEMBER, name, bucket="landing", member=who, role=role)


class TestGrants:
    def test_a_grant_is_wider_and_its_end_is_narrower(self) -> None:
        grant = member("a", "serviceAccount:x@p")
        words = "serviceAccount:x@p {} roles/storage.objectViewer on bucket landing"
        assert seen([], [grant]) == [(WIDER, words.format("gets"), False)]
        assert seen([grant], []) == [(NARROWER, words.format("loses"), False)]

    def test_a_grant_that_only_has_another_name_in_the_program_is_nothing(self) -> None:
        assert seen([member("a", "user:x@p")], [member("b", "user:x@p")]) == []

    def test_another_role_is_one_given_and_one_taken(self) -> None:
        found = seen(
            [member("a", "user:x@p")], [member("a", "user:x@p", "roles/storage.objectAdmin")]
        )
        assert [(direction, what.split()[1:3]) for direction, what, _ in found] == [
            (WIDER, ["gets", "roles/storage.objectAdmin"]),
            (NARROWER, ["loses", "roles/storage.objectViewer"]),
        ]

    @pytest.mark.parametrize("everyone", ["allUsers", "allAuthenticatedUsers"])
    def test_a_grant_to_everyone_is_loud_and_comes_first(self, everyone: str) -> None:
        found = seen([], [member("a", "user:x@p"), member("b", everyone)])
        assert [(what.split()[0], loud) for _, what, loud in found] == [
            (everyone, True),
            ("user:x@p", False),
        ]

    def test_a_role_on_the_whole_project_is_loud(self) -> None:
        token = "gcp:projects/iAMMember:IAMMember"
        grant = resource(token, project="p", member="user:x@p", role="roles/editor")
        assert seen([], [grant]) == [(WIDER, "user:x@p gets roles/editor on project p", True)]

    def test_of_a_binding_each_member_counts(self) -> None:
        token = "gcp:storage/bucketIAMBinding:BucketIAMBinding"
        old = resource(token, bucket="b", role="roles/x", members=["user:a@p", "user:b@p"])
        new = resource(token, bucket="b", role="roles/x", members=["user:b@p", "user:c@p"])
        assert [(direction, what.split()[0]) for direction, what, _ in seen([old], [new])] == [
            (WIDER, "user:c@p"),
            (NARROWER, "user:a@p"),
        ]

    def test_a_member_that_is_not_known_yet_says_where_it_comes_from(self) -> None:
        account = "urn:pulumi:prod::esteira::gcp:serviceaccount/account:Account::ingest"
        grant = resource(
            MEMBER, member=NOT_KNOWN, role="r", bucket="b", dependencies={"member": (account,)}
        )
        assert [what for _, what, _ in seen([], [grant])] == ["(from ingest) gets r on bucket b"]


class TestFirewall:
    def rule(self, *ranges: str, **facts: Any) -> Resource:
        allows = [{"protocol": "tcp", "ports": ["22"]}]
        return resource(FIREWALL, "f", sourceRanges=list(ranges), **{"allows": allows, **facts})

    def test_more_addresses_are_wider_and_all_of_them_loud(self) -> None:
        found = seen([self.rule("10.0.0.0/8")], [self.rule("10.0.0.0/8", "0.0.0.0/0")])
        assert found == [(WIDER, "lets in from 0.0.0.0/0 tcp:22", True)]

    def test_fewer_addresses_are_narrower(self) -> None:
        found = seen([self.rule("10.0.0.0/8", "10.1.0.0/16")], [self.rule("10.1.0.0/16")])
        assert found == [(NARROWER, "no longer lets in from 10.0.0.0/8 tcp:22", False)]

    def test_a_rule_that_is_switched_off_lets_nobody_in(self) -> None:
        found = seen([self.rule("10.0.0.0/8")], [self.rule("10.0.0.0/8", disabled=True)])
        assert [direction for direction, _, _ in found] == [NARROWER]

    def test_a_denial_that_goes_is_wider(self) -> None:
        denial = self.rule("0.0.0.0/0", allows=[], denies=[{"protocol": "all"}])
        found = seen([denial], [])
        assert found == [(WIDER, "no longer denies from 0.0.0.0/0 all", True)]


class TestProperties:
    @pytest.mark.parametrize(
        ("path", "old", "new", "direction", "area"),
        [
            ("publicAccessPrevention", "enforced", "inherited", WIDER, Area.PUBLIC),
            ("publicAccessPrevention", "inherited", "enforced", NARROWER, Area.PUBLIC),
            ("uniformBucketLevelAccess", True, False, WIDER, Area.PUBLIC),
            ("settings.ipConfiguration.ipv4Enabled", False, True, WIDER, Area.PUBLIC),
            ("settings.ipConfiguration.authorizedNetworks[0]", None, {"value": "0.0.0.0/0"},
             WIDER, Area.NETWORK),
            ("settings.ipConfiguration.sslMode", "ENCRYPTED_ONLY",
             "ALLOW_UNENCRYPTED_AND_ENCRYPTED", WIDER, Area.NETWORK),
            ("ingress", "INGRESS_TRAFFIC_ALL", "INGRESS_TRAFFIC_INTERNAL_ONLY", NARROWER,
             Area.PUBLIC),
            ("ipConfiguration", "WORKER_IP_PRIVATE", None, WIDER, Area.PUBLIC),
            ("kmsKeyName", "k", None, WIDER, Area.ENCRYPTION),
            ("encryption.defaultKmsKeyName", None, "k", NARROWER, Area.ENCRYPTION),
            ("kmsKeyName", "k", NOT_KNOWN, CHANGED, Area.ENCRYPTION),
            ("encryptionSpec.kmsKeyName", NOT_KNOWN, None, WIDER, Area.ENCRYPTION),
            ("deletionProtection", True, False, WIDER, Area.DELETION),
            ("protect", True, False, WIDER, Area.DELETION),
            ("forceDestroy", False, True, WIDER, Area.DELETION),
            ("versioning.enabled", True, None, WIDER, Area.DELETION),
            ("template.serviceAccount", "a@p", "b@p", CHANGED, Area.IDENTITY),
            ("oidc.attributeCondition", None, "x", NARROWER, Area.IDENTITY),
            ("attributeCondition", "assertion.repository == 'a/b'", None, WIDER, Area.IDENTITY),
            ("privateServiceConnectConfig.projectAllowlists[1]", None, "other", WIDER,
             Area.NETWORK),
        ],
    )  # fmt: skip
    def test_a_property_that_opens_or_protects(
        self, path: str, old: object, new: object, direction: Direction, area: Area
    ) -> None:
        assert judge(path, old, new) == (direction, area)

    @pytest.mark.parametrize("path", ["labels.team", "description", "messageRetentionDuration"])
    def test_others_are_of_no_interest(self, path: str) -> None:
        assert judge(path, "a", "b") is None

    def test_an_object_that_goes_as_a_whole_is_read_from_inside(self) -> None:
        old, new = resource(BUCKET, versioning={"enabled": True}), resource(BUCKET)
        assert seen([old], [new]) == [(WIDER, "versioning.enabled: true → not set", False)]

    def test_what_is_open_from_the_start_is_loud(self) -> None:
        service = resource(SERVICE, ingress="INGRESS_TRAFFIC_ALL")
        assert seen([], [service]) == [(WIDER, "reached from the whole internet", True)]

    def test_a_key_of_an_identity_is_loud(self) -> None:
        found = seen([], [resource("gcp:serviceaccount/key:Key")])
        assert found == [(WIDER, "a key that anyone can carry away", True)]

    def test_a_perimeter_that_is_taken_down_is_loud(self) -> None:
        token = "gcp:accesscontextmanager/servicePerimeter:ServicePerimeter"
        assert seen([resource(token)], []) == [(WIDER, "a perimeter is taken down", True)]
