module github.com/keyhold/keyhold/test/vectors

go 1.26.4

require github.com/keyhold/keyhold v0.0.0

require (
	github.com/decred/dcrd/dcrec/secp256k1/v4 v4.4.1 // indirect
	github.com/dsnet/compress v0.0.1 // indirect
	github.com/geomys/acvp-testdata v0.0.0-20251201200548-d893de8b8b1c // indirect
	golang.org/x/sys v0.49.0 // indirect
)

require (
	filippo.io/mldsa v1.0.0
	github.com/c2sp/wycheproof v0.0.0-20260902155932-3fa63dd0344a
	github.com/cloudflare/circl v1.6.5
	golang.org/x/crypto v0.58.0
)

replace github.com/keyhold/keyhold => ../..

tool github.com/geomys/acvp-testdata/cmd/trim
