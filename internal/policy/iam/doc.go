// Package iam reads AWS policy documents and says them in Cedar, so that one policy engine decides.
//
// It understands the JSON policy language of AWS Identity and Access Management, versions 2012-10-17 and 2008-10-17, as far
// as it speaks about keys: key policies, which belong to one key and name principals, and identity statements, which belong
// to principals and name keys. A document is translated completely or refused with every finding: nothing that it says is
// passed over. What Cedar or the request cannot express is a finding, not a guess.
//
// The package is pure: no I/O, no clock, no context. Reading is bounded in bytes, depth, statements, conditions and values.
//
// What holds for every translation, each with a test:
//   - A key that a request does not carry is absent, as AWS's evaluation has it: positive operators do not match, negated
//     ones do, …IfExists does, Null says so.
//   - Actions are those of one table, which has a row for every operation of the AWS API; an action of this server that AWS
//     does not have goes by its own name.
//   - Attributes are read only behind a test that they are there, so that no statement can fail while it is evaluated.
//
// Source: AWS IAM User Guide, "IAM JSON policy elements reference" and "Policy evaluation logic"; AWS KMS Developer Guide, "Key
// policies" and "AWS KMS condition keys".
package iam
