#!/usr/bin/env python3
"""Translates the SAM template to plain CloudFormation, so that cfn-lint checks what is deployed.

cfn-lint no longer expands SAM and so passes, say, a stream mapping with settings that AWS refuses.

    pip install aws-sam-translator cfn-lint boto3
    python3 infra/aws/translate.py template.yaml translated.json && cfn-lint translated.json
"""

import json
import os
import sys

# The translator asks boto3 for a partition; no call is made.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402


class NoManagedPolicies:
    """The template names no managed policy, so none is looked up in an account."""

    def load(self):
        return {}


def read(path):
    with open(path, encoding="utf-8") as file:
        return yaml_parse(file.read())


def main():
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} TEMPLATE.yaml TRANSLATED.json")
    template = read(sys.argv[1])
    # `sam build` puts the built code's address where `CodeUri: .` stands.
    globals_of_functions = template.get("Globals", {}).get("Function", {})
    for holder in [globals_of_functions, *(r.get("Properties", {}) for r in template["Resources"].values())]:
        if "CodeUri" in holder:
            holder["CodeUri"] = "s3://bucket/key"
    translated = transform(template, {}, NoManagedPolicies())
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(translated, file, indent=1)
    print(f"{len(translated['Resources'])} resources")


if __name__ == "__main__":
    main()
