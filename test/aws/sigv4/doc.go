// Package sigv4 compares the server's verification of AWS Signature Version 4 with the signer of AWS's own SDK: what that signs must verify, whatever
// headers, bodies, dates and query strings it signs, and nothing that was changed afterwards may.
package sigv4
