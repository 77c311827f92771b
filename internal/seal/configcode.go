package seal

import (
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/keyhold/keyhold/internal/kms"
)

// The configuration's bytes (docs/formats.md, "Seal configuration"), integers big-endian:
//
//	"KHSC" | 01 | flags u8 | cluster 16 | serial u64
//	| generations u8, each: number u32 | created u64 (ms) | check 16
//	| recipients u8, each: id 16 | kind u8 | label u8-prefixed | kem u16 | kdf u16 | aead u16 | public u16-prefixed
//	                       | params u16-prefixed | for each generation: sealed root key u16-prefixed
//	| mac 32
const (
	configMagic    = "KHSC\x01"
	macSize        = 32
	maxConfig      = 64 << 10 // bytes; what a store value can hold
	maxGenerations = 2
	flagDev        = 1
	maxMillis      = 1 << 48 // some 8900 years: what a UUIDv7 can say
)

// Bytes is the stored form.
func (c *Config) Bytes() []byte { return append(c.body(), c.mac[:]...) }

// body is what the MAC covers.
func (c *Config) body() []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddBytes([]byte(configMagic))
	var flags uint8
	if c.development {
		flags |= flagDev
	}
	b.AddUint8(flags)
	b.AddBytes(c.cluster[:])
	b.AddUint64(c.serial)
	b.AddUint8(uint8(len(c.generations))) //nolint:gosec // G115: at most 2
	for _, g := range c.generations {
		b.AddUint32(g.Number)
		b.AddUint64(millis(g.Created))
		b.AddBytes(g.Check[:])
	}
	b.AddUint8(uint8(len(c.recipients))) //nolint:gosec // G115: at most MaxRecipients
	for _, r := range c.recipients {
		b.AddBytes(r.ID[:])
		b.AddUint8(uint8(r.Kind))
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(r.Label)) })
		b.AddUint16(kemID)
		b.AddUint16(kdfID)
		b.AddUint16(aeadID)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(r.Public) })
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(r.Params) })
		for _, s := range r.sealed {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(s) })
		}
	}
	return b.BytesOrPanic() // every length was checked when the value was made
}

// ParseConfig reads a stored configuration. It checks the form and every limit; whether it is genuine shows when it is
// opened. Every error is CodeRecordDamaged.
func ParseConfig(raw []byte) (*Config, error) {
	c, why := parseConfig(raw)
	if why != "" {
		return nil, kms.Errorf(kms.CodeRecordDamaged, "the seal configuration does not parse: %s", why)
	}
	return c, nil
}

func parseConfig(raw []byte) (*Config, string) {
	if len(raw) > maxConfig {
		return nil, fmt.Sprintf("%d bytes are more than the limit of %d", len(raw), maxConfig)
	}
	s := cryptobyte.String(raw)
	var magic []byte
	if !s.ReadBytes(&magic, len(configMagic)) || string(magic) != configMagic {
		return nil, "it does not start with " + fmt.Sprintf("%q", configMagic)
	}
	c := new(Config)
	var flags, generations, recipients uint8
	if !s.ReadUint8(&flags) || !s.CopyBytes(c.cluster[:]) || !s.ReadUint64(&c.serial) || !s.ReadUint8(&generations) {
		return nil, "it is cut short"
	}
	if flags&^flagDev != 0 || c.cluster.IsZero() {
		return nil, "unknown flags, or no cluster"
	}
	c.development = flags&flagDev != 0
	if generations == 0 || generations > maxGenerations {
		return nil, fmt.Sprintf("%d root generations, want 1 or %d", generations, maxGenerations)
	}
	for range generations {
		g, ok := readGeneration(&s)
		if !ok || g.Number == 0 || len(c.generations) > 0 && g.Number != c.newest().Number+1 {
			return nil, "a root generation is cut short or out of order"
		}
		c.generations = append(c.generations, g)
	}
	if !s.ReadUint8(&recipients) || recipients < MinRecipients || recipients > MaxRecipients {
		return nil, fmt.Sprintf("%d recipients, want %d to %d", recipients, MinRecipients, MaxRecipients)
	}
	seen := make(map[kms.ID]bool, recipients)
	for range recipients {
		r, why := readRecipient(&s, int(generations))
		if why != "" {
			return nil, why
		}
		if seen[r.ID] {
			return nil, "a recipient stands there twice"
		}
		seen[r.ID] = true
		c.recipients = append(c.recipients, r)
	}
	if !s.CopyBytes(c.mac[:]) || !s.Empty() {
		return nil, "it is cut short, or bytes follow its end"
	}
	return c, ""
}

func readGeneration(s *cryptobyte.String) (Generation, bool) {
	var g Generation
	var created uint64
	if !s.ReadUint32(&g.Number) || !s.ReadUint64(&created) || !s.CopyBytes(g.Check[:]) || created >= maxMillis {
		return g, false
	}
	g.Created = fromMillis(created)
	return g, true
}

func readRecipient(s *cryptobyte.String, generations int) (Recipient, string) {
	var r Recipient
	var kem, kdf, aead uint16
	var label, public, params cryptobyte.String
	if !s.CopyBytes(r.ID[:]) || !s.ReadUint8((*uint8)(&r.Kind)) || !s.ReadUint8LengthPrefixed(&label) ||
		!s.ReadUint16(&kem) || !s.ReadUint16(&kdf) || !s.ReadUint16(&aead) ||
		!s.ReadUint16LengthPrefixed(&public) || !s.ReadUint16LengthPrefixed(&params) {
		return r, "a recipient is cut short"
	}
	if kem != kemID || kdf != kdfID || aead != aeadID {
		return r, fmt.Sprintf("a recipient has the suite %04x-%04x-%04x, which this program does not know", kem, kdf, aead)
	}
	r.Label, r.Public, r.Params = string(label), append([]byte(nil), public...), append([]byte(nil), params...)
	if why := r.flaw(); why != "" {
		return r, "a recipient " + why
	}
	for range generations {
		var sealed cryptobyte.String
		if !s.ReadUint16LengthPrefixed(&sealed) || len(sealed) != sealedSize {
			return r, "a recipient's sealed root key is cut short"
		}
		r.sealed = append(r.sealed, append([]byte(nil), sealed...))
	}
	return r, ""
}

// millis and fromMillis: times are kept in milliseconds since 1970, UTC.
func millis(t time.Time) uint64 {
	ms := t.UnixMilli()
	if ms < 0 || ms >= maxMillis {
		return 0
	}
	return uint64(ms)
}

func fromMillis(ms uint64) time.Time { return time.UnixMilli(int64(ms)).UTC() } //nolint:gosec // G115: below 2^48
