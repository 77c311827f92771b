package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/bench/internal/results"
)

// The servers of the tables.
const (
	product  = "keyhold"          // every record on stable storage before the answer
	unsynced = "keyhold-unsynced" // the audit trail in memory: nothing is durable
	durable  = "bare-durable"
	written  = "bare-unsynced"

	aws           = "keyhold-aws" // by the AWS dialect, each request signed
	awsUnsynced   = "keyhold-aws-unsynced"
	vault         = "keyhold-vault" // by the Vault dialect
	vaultUnsynced = "keyhold-vault-unsynced"
)

// measure is how a bar is measured.
type measure uint8

const (
	ratio  measure = iota // CPU time, times the yardstick's
	beyond                // CPU µs more than the yardstick
	bytes                 // written to storage, for each operation
	above                 // µs of latency more than a sync of the same minute
	memory                // MiB
	signed                // CPU time without what a signature may cost, times the yardstick's
)

// signatureAllowed is what verifying a request's signature may cost, in CPU µs.
const signatureAllowed = 15

var formats = map[measure]string{ratio: "%.2f", beyond: "%.0f", bytes: "%.0f", above: "%.0f", memory: "%.0f", signed: "%.2f"}

// bar is a limit that the product sets itself.
type bar struct {
	id, what string
	server   string
	how      measure
	most     float64
	unit     string
	at       []shape
}

func at16(ops ...string) []shape {
	var all []shape
	for _, op := range ops {
		all = append(all, shape{op, 16, false})
	}
	return all
}

// bars are in the order of their table. P3, P10 and P12 need another set-up: docs/performance.md says so.
var bars = []bar{
	{"P1", "32 bytes, durable, 16 connections", product, ratio, 4.0, "× B", at16("encrypt-32", "decrypt-32", "hmac", "datakey")},
	{"P1", "32 bytes, durable, 64 connections", product, ratio, 3.0, "× B", []shape{{"encrypt-32", 64, false}}},
	{"P2", "32 bytes, unsynced", unsynced, ratio, 2.2, "× B", at16("encrypt-32", "decrypt-32", "hmac", "datakey")},
	{"P4", "4 KiB, unsynced", unsynced, ratio, 1.5, "× B", at16("encrypt-4096", "decrypt-4096")},
	{"P5", "batch of 256 × 32 bytes, durable, per item", product, ratio, 2.5, "× B", at16("batch-256x32")},
	{"P6", "ECDSA and Ed25519, durable", product, beyond, 60, "µs more than B", at16("sign-ecdsa-p256", "verify-ecdsa-p256", "sign-ed25519", "verify-ed25519")},
	{"P7", "RSA-2048 signature, unsynced", unsynced, ratio, 1.10, "× B", at16("sign-rsa-2048-pss")},
	{"P8", "create a key, durable", product, ratio, 8, "× B", at16("create")},
	{"P8", "written for each key", product, bytes, 4096, "bytes", at16("create")},
	{"P9", "one connection, durable: median latency", product, above, 300, "µs more than a sync", []shape{{"encrypt-32", 1, false}}},
	{"P11", "memory of an idle server", product, memory, 40, "MiB", []shape{{results.Idle, 0, false}}},
	{"P14", "AWS dialect, durable, less 15 µs for the signature", aws, signed, 4.0, "× B", at16("encrypt-32", "decrypt-32", "datakey")},
	{"P14", "AWS dialect, unsynced, less 15 µs for the signature", awsUnsynced, signed, 2.2, "× B", at16("encrypt-32", "decrypt-32", "datakey")},
	{"P15", "Vault dialect, durable", vault, ratio, 4.0, "× B", at16("encrypt-32", "decrypt-32", "datakey", "hmac")},
	{"P15", "Vault dialect, unsynced", vaultUnsynced, ratio, 2.2, "× B", at16("encrypt-32", "decrypt-32", "datakey", "hmac")},
	{"P15", "Vault dialect, batch of 256 × 32 bytes, durable, per item", vault, ratio, 5.0, "× B", at16("batch-256x32")},
	{"P15", "Vault dialect, ECDSA and Ed25519, durable", vault, beyond, 60, "µs more than B", at16("sign-ecdsa-p256", "sign-ed25519")},
	{"P13", "a full handshake for each request", product, ratio, 1.2, "× B", []shape{{"encrypt-32", 16, true}}},
}

// values are what a bar limits, in one shape.
func (b *bar) values(d *Data, s shape) []float64 {
	of := d.of(b.server, s)
	switch b.how {
	case beyond:
		return of.over
	case signed:
		return of.less(signatureAllowed)
	case bytes:
		return of.each(func(r *results.Run) float64 { return r.Written })
	case above:
		return d.above
	case memory:
		return of.each(func(r *results.Run) float64 { return float64(r.RSS) / (1 << 20) })
	default:
		return of.ratios
	}
}

// worst is the greatest median of the bar's shapes; false if nothing was measured.
func (b *bar) worst(d *Data) (float64, bool) {
	var medians []float64
	for _, s := range b.at {
		if v := b.values(d, s); len(v) > 0 {
			medians = append(medians, Median(v))
		}
	}
	if len(medians) == 0 {
		return 0, false
	}
	return slices.Max(medians), true
}

// Check compares the bars that depend on CPU time alone with what was measured: each may be exceeded by a factor. The others depend on
// the disk of the minute. It is an error if fewer groups than asked for were measured.
func (d *Data) Check(slack float64, groups int) error {
	var missed []string
	known := 0
	for i := range bars {
		b := &bars[i]
		got, ok := b.worst(d)
		if !ok || b.how != ratio {
			continue
		}
		for _, s := range b.at {
			if n := len(b.values(d, s)); n > 0 && n < groups {
				return fmt.Errorf("%s: %d groups of %s count, of %d that are needed: the machine is too busy to tell", b.id, n, s.op, groups)
			}
		}
		known++
		if got > b.most*slack {
			missed = append(missed, fmt.Sprintf("%s %s: %.2f %s, want at most %.2f × %.2f", b.id, b.what, got, b.unit, b.most, slack))
		}
	}
	if known == 0 {
		return fmt.Errorf("nothing was measured that has a bar")
	}
	if len(missed) > 0 {
		return fmt.Errorf("slower than it may be:\n%s", strings.Join(missed, "\n"))
	}
	return nil
}
