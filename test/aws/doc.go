// Package awstest holds tests that run Keyhold's AWS dialect as its users do: with the clients that know only "an AWS KMS key", unmodified, against a
// server that the test starts, over TLS verified against the server's own authority. It is a module of its own, so that what clients
// need is not what the product needs.
//
// Three kinds of tests are here:
//
//   - every client of docs/dialects/aws.md does what it is for: command line, SDKs for Go, Python and JavaScript, Tink, Go CDK, SOPS, sigstore, …;
//   - the SDK for Go calls every operation of its model, and reads every refusal as its own type of error;
//   - scripts in testdata/scripts hold requests and answers as they are on the wire, for every operation, refused ones included.
//
// Nothing here imports a package of the product: what is tested is the binary.
package awstest
