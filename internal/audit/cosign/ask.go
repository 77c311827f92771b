package cosign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/audit/tree"
)

// errRefuses says that a witness saw another history of the log.
var errRefuses = errors.New("the witness saw another history of this log")

// ask asks one witness for its cosignature of a checkpoint. Without a line and an error, the witness is ahead of the checkpoint.
func (p *Publisher) ask(ctx context.Context, a *asked, t *target) (line string, at time.Time, err error) {
	for range maxTries {
		p.mu.Lock()
		old := a.cursors[t.Origin]
		p.mu.Unlock()
		if old > t.Size {
			return "", at, nil
		}
		x := tree.Extension{Old: old, Checkpoint: t.note}
		if old > 0 && old < t.Size {
			if x.Hashes, err = p.cfg.Log.Extension(t.epoch, old, t.Size); err != nil {
				return "", at, fmt.Errorf("prove the way from %d records: %w", old, err)
			}
		}
		status, kind, answer, err := p.post(ctx, a.URL, x.Text())
		if err != nil {
			return "", at, err
		}
		switch status {
		case http.StatusOK:
			line, at, err = p.cosignature(a, t, answer)
			if err == nil {
				p.advance(a, t.Origin, t.Size)
			}
			return line, at, err
		case http.StatusConflict:
			if err := p.conflict(a, t, old, kind, answer); err != nil {
				return "", at, err
			}
		default:
			return "", at, refusal(status, old)
		}
	}
	return "", at, errors.New("the witness does not agree with itself about what it cosigned last")
}

// refusal is what a status of C2SP tlog-witness says.
func refusal(status int, old uint64) error {
	switch {
	case status == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: what it cosigned over %d records does not lead to what is there now", errRefuses, old)
	case status == http.StatusNotFound:
		return errors.New("the witness does not watch this origin, or the URL is wrong (404)")
	case status == http.StatusForbidden:
		return errors.New("the witness does not know the log's key (403)")
	case status >= 300 && status < 400:
		return fmt.Errorf("the witness answers with a redirect, which is not followed (%d)", status)
	}
	return fmt.Errorf("the witness answers with status %d", status)
}

// conflict learns from a witness which size it cosigned last.
func (p *Publisher) conflict(a *asked, t *target, old uint64, kind string, answer []byte) error {
	text := strings.TrimSuffix(string(answer), "\n")
	size, err := strconv.ParseUint(text, 10, 63)
	if err != nil || kind != "text/x.tlog.size" {
		if old == t.Size {
			return fmt.Errorf("%w: of %d records it cosigned another root", errRefuses, old)
		}
		return errors.New("the witness answers with a conflict and no size")
	}
	there := t.Size
	if t.Origin == p.cfg.Log.Origin() {
		there = p.cfg.Log.Size()
	}
	switch {
	case size > there:
		return fmt.Errorf("%w: it cosigned %d records of %s, and only %d are there", errRefuses, size, t.Origin, there)
	case size == old:
		return fmt.Errorf("%w: of %d records it cosigned another root", errRefuses, size)
	}
	if size < old {
		p.cfg.Logger.Warn("witness_went_back", "witness", a.Key.Name(), "origin", t.Origin, "size", size, "before", old)
	}
	p.advance(a, t.Origin, size)
	return nil
}

// advance keeps how far a witness is.
func (p *Publisher) advance(a *asked, origin string, size uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a.cursors[origin] = size
}

// cosignature takes the witness's own line out of an answer, and checks it.
func (p *Publisher) cosignature(a *asked, t *target, answer []byte) (string, time.Time, error) {
	if len(t.note)+len(answer) > tree.MaxNote {
		return "", time.Time{}, errors.New("the witness answers with more than a checkpoint can have")
	}
	by, err := tree.Cosignatures(append(bytes.Clone(t.note), answer...), []*tree.Witness{a.Key})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("the witness's answer does not verify: %w", err)
	}
	if len(by) != 1 {
		return "", time.Time{}, errors.New("the witness's answer has no cosignature under its key")
	}
	if skew := by[0].At.Sub(p.cfg.Now()); skew > maxSkew || skew < -maxSkew {
		return "", time.Time{}, fmt.Errorf("the witness's clock is %s away from this one's", skew.Abs().Round(time.Second))
	}
	return by[0].Line, by[0].At, nil
}

// post sends a request and reads a bounded answer.
func (p *Publisher) post(ctx context.Context, prefix string, body []byte) (status int, kind string, answer []byte, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, prefix+"/add-checkpoint", bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	q.Header.Set("Content-Type", "text/plain; charset=utf-8")
	q.Header.Set("User-Agent", "keyhold")
	r, err := p.client.Do(q)
	if err != nil {
		return 0, "", nil, err
	}
	defer r.Body.Close() //nolint:errcheck // it was only read
	answer, err = io.ReadAll(io.LimitReader(r.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = fmt.Errorf("the witness answers with more than %d bytes", maxAnswer)
	}
	return r.StatusCode, r.Header.Get("Content-Type"), answer, err
}
