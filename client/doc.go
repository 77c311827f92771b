// Package client is the Go client of Keyhold, an encryption key management server.
//
//	c, err := client.FromEnv() // KEYHOLD_ADDR, KEYHOLD_TOKEN, KEYHOLD_CACERT, KEYHOLD_NAMESPACE
//	…
//	sealed, err := c.Encrypt(ctx, client.EncryptInput{Key: "orders", Plaintext: card, Context: client.Context{"order": "17"}})
//	opened, err := c.Decrypt(ctx, client.DecryptInput{Ciphertext: sealed.Ciphertext, Context: client.Context{"order": "17"}})
//
// A Client is safe for concurrent use and keeps its connections open; make one and share it.
//
// Failures are *Error values with a stable code, what happened and what to do next. Calls are repeated, with growing and
// jittered pauses, where a repetition can help; a change carries an idempotency token that is made once for all its
// attempts, so that it never happens twice.
//
// The client talks HTTP/1.1 with JSON, because that is the server's fastest path, over TLS always; the local
// socket of the server's machine (unix:///path) is the exception. It never follows a redirect and never logs.
package client
