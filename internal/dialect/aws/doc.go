// Package aws is the AWS dialect: the JSON 1.1 protocol of AWS KMS (TrentService, API version 2014-11-01) and as much of STS as its clients need,
// translated to the engine. AWS SDKs, the AWS CLI and the tools that are built on them work with it unmodified.
//
// It refuses to decide: who calls is authn's to say (Signature Version 4), everything else the engine's. It keeps nothing.
//
// The shapes of requests and answers, and the constraints on them, are generated from the model of the API (shapes.go); the table
// of operations (operations.go) says for each whether it works, and docs/dialects/aws.md is made from it.
//
// Names: an account is a namespace, a region is that of the request's credential scope. A key's id is its UUID, or "mrk-" and its 32
// digits for a multi-Region key, whose UUID is of version 8. An alias of AWS is an alias of the same key.
//
// Sources: the AWS KMS API reference, and the model in testdata/model.
package aws
