module github.com/keyhold/keyhold/test/witness

go 1.26.0

require (
	github.com/keyhold/keyhold v0.0.0
	github.com/transparency-dev/formats v0.1.1
	golang.org/x/mod v0.42.0
)

require (
	filippo.io/mldsa v1.0.0 // indirect
	github.com/klauspost/compress v1.20.1 // indirect
	golang.org/x/crypto v0.58.0 // indirect
)

replace github.com/keyhold/keyhold => ../..
