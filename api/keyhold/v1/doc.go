// Package keyholdv1 holds the messages of the native API, generated from the .proto files beside it: docs/api.md is written from the same files.
//
// Fields are only ever added, and numbers never used again. What a message must carry, its sizes and its errors stand at its fields. Messages hold
// released plaintexts as plain bytes: only package native, the server's encoder, and package client may see them.
package keyholdv1
