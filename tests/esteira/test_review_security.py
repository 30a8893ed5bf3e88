"""What a change makes wider and what narrower."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from esteira.review import compare, security
from esteira.review.plan import Resource
from esteira.review.protections import Area, Direction, judge
from localcloud.provider.values import UNKNOWN as NOT_KNOWN
from tests.esteira.reviews import BUCKET, MEMBER, SERVICE, resource

WIDER, CHANGED, NARROWER = Direction.WIDER, Direction.CHANGED, Direction.NARROWER
ACCESS = "gcp:bigquery/datasetAccess:DatasetAccess"
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


class TestOtherGrants:
    """What gives access, and is not called IAM."""

    def access(self, name: str = "a", **entry: Any) -> Resource:
        return resource(ACCESS, name, datasetId="raw", **entry)

    @pytest.mark.parametrize(
        ("entry", "what", "loud"),
        [
            ({"groupByEmail": "analysts@example.com", "role": "READER"},
             "group:analysts@example.com gets roles/bigquery.dataViewer", False),
            ({"userByEmail": "x@p.iam.gserviceaccount.com", "role": "WRITER"},
             "serviceAccount:x@p.iam.gserviceaccount.com gets roles/bigquery.dataEditor", False),
            ({"userByEmail": "ana@example.com", "role": "roles/bigquery.dataOwner"},
             "user:ana@example.com gets roles/bigquery.dataOwner", False),
            ({"domain": "example.com", "role": "READER"},
             "domain:example.com gets roles/bigquery.dataViewer", False),
            ({"iamMember": "principalSet://iam/p", "role": "READER"},
             "principalSet://iam/p gets roles/bigquery.dataViewer", False),
            ({"iamMember": "allUsers", "role": "READER"},
             "allUsers gets roles/bigquery.dataViewer", True),
            ({"specialGroup": "allAuthenticatedUsers", "role": "READER"},
             "allAuthenticatedUsers gets roles/bigquery.dataViewer", True),
            ({"specialGroup": "projectReaders", "role": "READER"},
             "projectReaders gets roles/bigquery.dataViewer", True),
            ({"authorizedDataset": {"dataset": {"projectId": "p", "datasetId": "shared"},
                                    "targetTypes": ["VIEWS"]}},
             "every view of dataset p.shared gets read access", False),
            ({"view": {"projectId": "p", "datasetId": "shared", "tableId": "late"}},
             "view p.shared.late gets read access", False),
            ({"routine": {"projectId": "p", "datasetId": "shared", "routineId": "mean"}},
             "routine p.shared.mean gets read access", False),
        ],
    )  # fmt: skip
    def test_an_entry_of_a_dataset_is_a_grant(
        self, entry: dict[str, Any], what: str, loud: bool
    ) -> None:
        words = f"{what} on dataset raw"
        assert seen([], [self.access(**entry)]) == [(WIDER, words, loud)]
        assert seen([self.access(**entry)], []) == [
            (NARROWER, words.replace(" gets ", " loses "), False)
        ]
        inline = resource("gcp:bigquery/dataset:Dataset", datasetId="raw", accesses=[entry])
        assert seen([], [inline]) == [(WIDER, words, loud)]

    def test_either_name_of_a_role_is_the_same_right(self) -> None:
        before = self.access(groupByEmail="g@p", role="roles/bigquery.dataViewer")
        assert seen([before], [self.access("b", groupByEmail="g@p", role="READER")]) == []

    def test_a_view_that_is_authorised_from_a_dataset_to_come_says_from_which(self) -> None:
        other = "urn:pulumi:prod::esteira::gcp:bigquery/dataset:Dataset::shared"
        grant = self.access(
            authorizedDataset={"dataset": {"projectId": NOT_KNOWN, "datasetId": NOT_KNOWN},
                               "targetTypes": ["VIEWS"]},
            dependencies={"authorizedDataset": (other,)},
        )  # fmt: skip
        assert [what for _, what, _ in seen([], [grant])] == [
            "every view of dataset (from shared) gets read access on dataset raw"
        ]

    def test_a_reader_that_is_not_known_yet_says_where_it_comes_from(self) -> None:
        account = "urn:pulumi:prod::esteira::gcp:serviceaccount/account:Account::ingest"
        grant = self.access(
            userByEmail=NOT_KNOWN, role="READER", dependencies={"userByEmail": (account,)}
        )
        assert [what for _, what, _ in seen([], [grant])] == [
            "(from ingest) gets roles/bigquery.dataViewer on dataset raw"
        ]

    @pytest.mark.parametrize(
        ("kind", "member", "right"),
        [
            ("CLOUD_IAM_SERVICE_ACCOUNT", "serviceAccount:x@p.iam", "a login as owner"),
            ("CLOUD_IAM_USER", "user:x@p.iam", "a login as owner"),
            ("BUILT_IN", "x@p.iam", "a login with a password as owner"),
            (None, "x@p.iam", "a login with a password as owner"),
        ],
    )
    def test_a_user_of_a_database_may_log_in(
        self, kind: str | None, member: str, right: str
    ) -> None:
        inputs = {"name": "x@p.iam", "instance": "i", "type": kind, "databaseRoles": ["owner"]}
        user = replace(resource("gcp:sql/user:User"), inputs=inputs)
        words = f"{member} gets {right} on database instance i"
        assert seen([], [user]) == [(WIDER, words, False)]

    def test_lists_of_access_of_a_bucket_count(self) -> None:
        one = resource(
            "gcp:storage/bucketAccessControl:BucketAccessControl",
            bucket="b", entity="allUsers", role="READER",
        )  # fmt: skip
        listed = resource(
            "gcp:storage/bucketACL:BucketACL", bucket="b", roleEntities=["READER:allUsers"]
        )
        assert seen([], [one]) == [(WIDER, "allUsers gets READER on bucket b", True)]
        assert seen([one], [listed]) == []
        public = resource("gcp:storage/bucketACL:BucketACL", bucket="b", predefinedAcl="publicRead")
        assert [loud for _, _, loud in seen([], [public])] == [True]


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

    def test_a_load_balancer_of_the_internet_is_loud(self) -> None:
        token = "gcp:compute/globalForwardingRule:GlobalForwardingRule"
        rule = resource(token, loadBalancingScheme="EXTERNAL_MANAGED")
        assert seen([], [rule]) == [(WIDER, "an address on the whole internet", True)]
        assert seen([], [resource(token, loadBalancingScheme="")]) == []

    def test_a_key_of_an_identity_is_loud(self) -> None:
        found = seen([], [resource("gcp:serviceaccount/key:Key")])
        assert found == [(WIDER, "a key that anyone can carry away", True)]

    def test_a_perimeter_that_is_taken_down_is_loud(self) -> None:
        token = "gcp:accesscontextmanager/servicePerimeter:ServicePerimeter"
        assert seen([resource(token)], []) == [(WIDER, "a perimeter is taken down", True)]
