package sink

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// otlp posts logs in the protobuf form of OTLP/HTTP (OpenTelemetry protocol 1.x, "OTLP/HTTP").
type otlp struct {
	*poster
	cfg *Config
}

const protobuf = "application/x-protobuf"

func newOTLP(cfg *Config, s *Sink) (*otlp, error) {
	p, err := newPoster(s)
	return &otlp{p, cfg}, err
}

func (o *otlp) send(ctx context.Context, b *batch) error {
	h := make(http.Header)
	h.Set("Content-Type", protobuf)
	r, err := o.post(ctx, exportRequest(o.cfg, b, time.Now()), h)
	if err != nil {
		return err
	}
	if kind, _, err := mime.ParseMediaType(r.kind); len(r.body) > 0 && (err != nil || kind != protobuf) {
		return refused(fmt.Errorf("it answers %q, not %s: what is there is no OTLP receiver", plain(r.kind), protobuf))
	}
	rejected, message, err := exportResponse(r.body)
	switch {
	case err != nil:
		return refused(fmt.Errorf("its answer is not one of OTLP: %w", err))
	case rejected > 0:
		// The specification says not to send such a request again. A record of an audit log is not given up: the batch stays, visibly, until
		// the receiver takes it.
		return refused(fmt.Errorf("it rejected %d of %d records: %s", rejected, len(b.entries), plain(message)))
	}
	return nil
}

// exportResponse reads ExportLogsServiceResponse: how many records were rejected, and why.
func exportResponse(msg []byte) (rejected uint64, message string, err error) {
	err = eachField(msg, func(n protowire.Number, v []byte, _ uint64) error {
		if n != 1 { // partial_success
			return nil
		}
		return eachField(v, func(n protowire.Number, v []byte, number uint64) error {
			switch n {
			case 1:
				rejected = number
			case 2:
				message = string(v)
			}
			return nil
		})
	})
	return rejected, message, err
}

// eachField goes through the fields of a message: bytes of length-delimited ones, the number of varints; others are passed over.
func eachField(msg []byte, see func(n protowire.Number, v []byte, number uint64) error) error {
	for len(msg) > 0 {
		n, kind, used := protowire.ConsumeTag(msg)
		if used < 0 {
			return protowire.ParseError(used)
		}
		msg = msg[used:]
		var v []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			v, used = protowire.ConsumeBytes(msg)
		case protowire.VarintType:
			number, used = protowire.ConsumeVarint(msg)
		default:
			used = protowire.ConsumeFieldValue(n, kind, msg)
		}
		if used < 0 {
			return protowire.ParseError(used)
		}
		if err := see(n, v, number); err != nil {
			return err
		}
		msg = msg[used:]
	}
	return nil
}
