// Package otlp reads what the OTLP audit sink sends with the code that the OpenTelemetry project publishes for its protocol. It is a module of its
// own, so that the product, which writes the few messages by hand, does not depend on it.
package otlp
