package sink

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// The headers of a webhook's requests.
const (
	headerTimestamp = "Keyhold-Timestamp" // Unix time, seconds
	headerSignature = "Keyhold-Signature" // v1= and the HMAC-SHA-256 of timestamp, a dot and the body, in hexadecimal
	headerOrigin    = "Keyhold-Origin"    // of all records in the body
	headerKey       = "Idempotency-Key"
)

// webhook posts newline-delimited JSON, signed.
type webhook struct {
	*poster
	sign func([]byte) ([]byte, error)
}

func newWebhook(s *Sink) (*webhook, error) {
	p, err := newPoster(s)
	if err == nil && s.Sign == nil {
		err = errors.New("a webhook needs a secret to sign with")
	}
	return &webhook{p, s.Sign}, err
}

func (w *webhook) send(ctx context.Context, b *batch) error {
	body := b.body()
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac, err := w.sign(append([]byte(at+"."), body...))
	if err != nil {
		return err
	}
	h := make(http.Header)
	h.Set("Content-Type", "application/x-ndjson")
	h.Set(headerTimestamp, at)
	h.Set(headerSignature, "v1="+hex.EncodeToString(mac))
	h.Set(headerOrigin, b.origin)
	h.Set(headerKey, strconv.Quote(b.key())) // a string of structured fields, RFC 9651 §3.3.3
	_, err = w.post(ctx, body, h)
	return err
}

func (p *poster) settle() time.Duration       { return 0 }
func (p *poster) check(context.Context) error { return nil }
func (p *poster) close()                      { p.client.CloseIdleConnections() }
