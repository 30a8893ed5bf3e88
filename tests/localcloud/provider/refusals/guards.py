"""Services, identities, keys, secrets and guard rails."""

from __future__ import annotations

from typing import Final

from tests.localcloud.provider.refusals import GONE, KEY, Table

GUARDS: Final[Table] = {
    "gcp:projects/service:Service": (
        {"project": "p", "service": "pubsub.googleapis.com"},
        [
            ("service", "pubsub", "a service's whole name"),
            ("service", GONE, "missing required"),
            ("disableOnDestroy", "maybe", "expected a boolean"),
        ],
    ),
    "gcp:projects/serviceIdentity:ServiceIdentity": (
        {"project": "p", "service": "pubsub.googleapis.com"},
        [("service", "Pub/Sub", "a service's whole name")],
    ),
    "gcp:projects/iAMMember:IAMMember": (
        {"project": "p", "role": "roles/bigquery.jobUser",
         "member": "serviceAccount:train@p.iam.gserviceaccount.com"},
        [
            ("member", "train@p.iam.gserviceaccount.com", "is no principal"),
            ("member", "serviceAccount:train", "is no principal"),
            ("role", "bigquery.jobUser", "is no role"),
            ("project", GONE, "missing required"),
            ("condition", {"expression": "true"}, "missing required", "condition.title"),
            ("condition", {"expression": "true", "title": "t" * 101}, "at most 100",
             "condition.title"),
        ],
    ),
    "gcp:projects/iAMAuditConfig:IAMAuditConfig": (
        {"project": "p", "service": "allServices", "auditLogConfigs": [{"logType": "DATA_READ"}]},
        [
            ("service", "everything", "`allServices`"),
            ("auditLogConfigs[0].logType", "READ", "is not one of ADMIN_READ"),
            ("auditLogConfigs", GONE, "missing required"),
        ],
    ),
    "gcp:serviceaccount/account:Account": (
        {"accountId": "train-product", "displayName": "Trains"},
        [
            ("accountId", "train", "6 to 30"),
            ("accountId", "Train-product", "lower-case"),
            ("accountId", "t" * 31, "6 to 30"),
            ("description", "d" * 257, "at most 256"),
        ],
    ),
    "gcp:serviceaccount/iAMMember:IAMMember": (
        {"serviceAccountId": "projects/p/serviceAccounts/a@p.iam.gserviceaccount.com",
         "role": "roles/iam.workloadIdentityUser",
         "member": "principalSet://iam.googleapis.com/projects/1/locations/global/"
                   "workloadIdentityPools/github/attribute.repository/o/r"},
        [
            ("serviceAccountId", GONE, "missing required"),
            ("member", "github", "is no principal"),
            ("role", "iam.workloadIdentityUser", "is no role"),
        ],
    ),
    "gcp:iam/workloadIdentityPool:WorkloadIdentityPool": (
        {"workloadIdentityPoolId": "github", "displayName": "GitHub"},
        [
            ("workloadIdentityPoolId", "gcp-github", "not starting with `gcp-`"),
            ("workloadIdentityPoolId", "git", "4 to 32"),
            ("displayName", "d" * 33, "at most 32"),
        ],
    ),
    "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider": (
        {"workloadIdentityPoolId": "github", "workloadIdentityPoolProviderId": "actions",
         "attributeMapping": {"google.subject": "assertion.sub",
                              "attribute.repository": "assertion.repository"},
         "attributeCondition": "assertion.repository == 'o/r'",
         "oidc": {"issuerUri": "https://token.actions.githubusercontent.com"}},
        [
            ("oidc", GONE, "give one of aws, oidc, saml, x509", "aws"),
            ("aws", {"accountId": "123456789012"}, "conflicts with 'aws'", "oidc"),
            ("oidc.issuerUri", "http://issuer", "https://"),
            ("oidc.issuerUri", GONE, "missing required"),
            ("attributeMapping", {"attribute.a": "assertion.a"}, "google.subject"),
            ("attributeMapping", {"google.subject": "assertion.sub", "repository": "r"},
             "is no attribute", "attributeMapping.repository"),
            ("workloadIdentityPoolProviderId", "Actions", "lower-case"),
        ],
    ),
    "gcp:orgpolicy/policy:Policy": (
        {"name": "projects/p/policies/iam.disableServiceAccountKeyCreation", "parent": "projects/p",
         "spec": {"rules": [{"enforce": "TRUE"}]}},
        [
            ("parent", "p", "projects/ID"),
            ("name", "iam.disableServiceAccountKeyCreation", "policies/CONSTRAINT"),
            ("spec.rules[0].enforce", "YES", "is not one of TRUE, FALSE"),
            ("spec.rules[0].allowAll", "TRUE", "conflicts with 'allowAll'",
             "spec.rules[0].enforce"),
        ],
    ),
    "gcp:billing/budget:Budget": (
        {"billingAccount": "012345-567890-ABCDEF", "displayName": "ml",
         "amount": {"specifiedAmount": {"currencyCode": "USD", "units": "100"}},
         "budgetFilter": {"projects": ["projects/1"], "calendarPeriod": "MONTH"},
         "thresholdRules": [{"thresholdPercent": 0.9}],
         "allUpdatesRule": {"pubsubTopic": "projects/p/topics/t"}},
        [
            ("billingAccount", "my-account", "hexadecimal"),
            ("amount", {}, "give one of", "amount.lastPeriodAmount"),
            ("amount.lastPeriodAmount", True, "conflicts with", "amount.specifiedAmount"),
            ("amount.specifiedAmount.currencyCode", "dollars", "ISO 4217"),
            ("thresholdRules[0].thresholdPercent", -0.5, "at least 0"),
            ("thresholdRules[0].spendBasis", "GUESSED", "is not one of CURRENT_SPEND"),
            ("budgetFilter.calendarPeriod", "WEEK", "is not one of MONTH"),
            ("budgetFilter.customPeriod", {"startDate": {"year": 2026, "month": 1, "day": 1}},
             "conflicts with 'calendarPeriod'"),
            ("budgetFilter.projects[0]", "p", "projects/PROJECT"),
            ("allUpdatesRule.pubsubTopic", "t", "projects/PROJECT/topics/TOPIC"),
            ("allUpdatesRule.monitoringNotificationChannels",
             [f"projects/p/notificationChannels/{n}" for n in range(6)], "from 0 items to 5 items"),
        ],
    ),
    "gcp:accesscontextmanager/servicePerimeter:ServicePerimeter": (
        {"parent": "accessPolicies/1", "name": "accessPolicies/1/servicePerimeters/ml",
         "title": "ml", "status": {"resources": ["projects/1"],
                                   "restrictedServices": ["bigquery.googleapis.com"]}},
        [
            ("parent", "1", "accessPolicies/NUMBER"),
            ("name", "ml", "servicePerimeters/NAME"),
            ("title", GONE, "missing required"),
            ("status.resources[0]", "projects/my-project", "projects/NUMBER"),
            ("perimeterType", "PERIMETER_TYPE_BRIDGE", "must be empty",
             "status.restrictedServices"),
            ("perimeterType", "BRIDGE", "is not one of PERIMETER_TYPE_REGULAR"),
            ("spec", {"resources": ["projects/1"]}, "only used where it is true",
             "useExplicitDryRunSpec"),
        ],
    ),
    "gcp:kms/keyRing:KeyRing": (
        {"name": "ml", "location": "us-central1"},
        [("name", "ml.ring", "underscores and hyphens"), ("location", GONE, "missing required")],
    ),
    "gcp:kms/cryptoKey:CryptoKey": (
        {"name": "data", "keyRing": "projects/p/locations/us-central1/keyRings/ml",
         "purpose": "ENCRYPT_DECRYPT", "rotationPeriod": "7776000s",
         "destroyScheduledDuration": "2592000s",
         "versionTemplate": {"algorithm": "GOOGLE_SYMMETRIC_ENCRYPTION",
                             "protectionLevel": "SOFTWARE"}},
        [
            ("keyRing", "ml", "keyRings/RING"),
            ("rotationPeriod", "3600s", "from 86400s"),
            ("purpose", "ENCRYPT", "is not one of ENCRYPT_DECRYPT"),
            ("purpose", "ASYMMETRIC_SIGN", "only allowed with purpose", "rotationPeriod"),
            ("versionTemplate", {"algorithm": "AES"}, "is not one of",
             "versionTemplate.algorithm"),
            ("destroyScheduledDuration", "60s", "from 86400s"),
        ],
    ),
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember": (
        {"cryptoKeyId": KEY, "role": "roles/cloudkms.cryptoKeyEncrypterDecrypter",
         "member": "serviceAccount:s@gcp-sa-pubsub.iam.gserviceaccount.com"},
        [("cryptoKeyId", GONE, "missing required"), ("member", "everyone", "is no principal")],
    ),
    "gcp:secretmanager/secret:Secret": (
        {"secretId": "db-password", "replication": {"auto": {}},
         "topics": [{"name": "projects/p/topics/t"}],
         "rotation": {"rotationPeriod": "2592000s", "nextRotationTime": "2027-01-31T00:00:00Z"}},
        [
            ("secretId", "db/password", "letters, digits, hyphens"),
            ("replication", {}, "give one of auto, userManaged", "replication.auto"),
            ("rotation.rotationPeriod", "60s", "from 3600s"),
            ("rotation.nextRotationTime", GONE, "rotationPeriod needs it"),
            ("rotation.nextRotationTime", "tomorrow", "RFC 3339"),
            ("topics", GONE, "needs a topic"),
            ("topics[0].name", "t", "projects/PROJECT/topics/TOPIC"),
            ("ttl", "1 day", "is no duration"),
            ("replication.auto", {"customerManagedEncryption": {"kmsKeyName": "k"}}, "is no key",
             "replication.auto.customerManagedEncryption.kmsKeyName"),
        ],
    ),
    "gcp:secretmanager/secretVersion:SecretVersion": (
        {"secret": "projects/p/secrets/s", "secretData": "v"},
        [
            ("secret", GONE, "missing required"),
            ("secretDataWo", "w", "conflicts with 'secretData'"),
            ("enabled", "perhaps", "expected a boolean"),
        ],
    ),
    "gcp:secretmanager/secretIamMember:SecretIamMember": (
        {"secretId": "s", "role": "roles/secretmanager.secretAccessor",
         "member": "serviceAccount:a@p.iam.gserviceaccount.com"},
        [("role", "accessor", "is no role"), ("secretId", GONE, "missing required")],
    ),
    "gcp:artifactregistry/repository:Repository": (
        {"repositoryId": "images", "format": "DOCKER", "location": "us-central1",
         "kmsKeyName": KEY,
         "cleanupPolicies": [{"id": "old", "action": "DELETE", "condition": {"olderThan": "30d"}},
                             {"id": "few", "action": "KEEP",
                              "mostRecentVersions": {"keepCount": 5}}]},
        [
            ("repositoryId", "Images", "lower-case"),
            ("format", "CONTAINER", "is not one of DOCKER"),
            ("format", GONE, "missing required"),
            ("mode", "REMOTE", "is not one of STANDARD_REPOSITORY"),
            ("mode", "REMOTE_REPOSITORY", "needs it", "remoteRepositoryConfig"),
            ("cleanupPolicies[0].condition.olderThan", "a month", "such as `30d`"),
            ("cleanupPolicies[0].action", "REMOVE", "is not one of DELETE, KEEP"),
            ("cleanupPolicies[1].action", "DELETE", "only allowed with action 'KEEP'",
             "cleanupPolicies[1].mostRecentVersions"),
            ("kmsKeyName", "k", "is no key"),
        ],
    ),
}  # fmt: skip
