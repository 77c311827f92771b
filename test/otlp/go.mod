module github.com/keyhold/keyhold/test/otlp

go 1.26.0

require (
	github.com/keyhold/keyhold v0.0.0
	go.opentelemetry.io/proto/slim/otlp v1.11.1
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/klauspost/compress v1.20.1 // indirect
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/keyhold/keyhold => ../..
