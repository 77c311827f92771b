package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// poster sends bodies to one URL.
type poster struct {
	url           string
	client        *http.Client
	authorization func() (string, error)
}

func newPoster(s *Sink) (*poster, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("want an https URL without a user and a fragment")
	}
	d := &dialer{s.CAFile, s.CertFile, s.KeyFile}
	return &poster{s.URL, &http.Client{
		Transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return d.dial(ctx, network, address)
			},
			DisableCompression: true, MaxIdleConns: 1, MaxConnsPerHost: 2, IdleConnTimeout: time.Minute,
			ResponseHeaderTimeout: s.Timeout, MaxResponseHeaderBytes: maxReply,
		},
		// A redirect could send the records elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, s.Authorization}, nil
}

// reply is the answer to a request that succeeded.
type reply struct {
	kind string // media type
	body []byte
}

// post sends a body. A status of 2xx is success; everything else is a fault.
func (p *poster) post(ctx context.Context, body []byte, header http.Header) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header = header
	req.Header.Set("User-Agent", "keyhold")
	if p.authorization != nil {
		value, err := p.authorization()
		if err != nil {
			return reply{}, err
		}
		req.Header.Set("Authorization", value)
	}
	res, err := p.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // its text repeats the URL, which may hold what is not for a log
			err = u.Err
		}
		return reply{}, err
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if res.StatusCode/100 == 2 {
		return reply{res.Header.Get("Content-Type"), text}, err
	}
	return reply{}, judge(res, text, time.Now())
}

// judge makes a fault of an answer. 408, 425, 429 and 5xx pass by themselves (RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4); the
// others do not.
func judge(res *http.Response, text []byte, now time.Time) error {
	f := &fault{err: fmt.Errorf("it answers %s: %s", res.Status, plain(string(text)))}
	switch {
	case res.StatusCode/100 == 3:
		f.refused, f.err = true, fmt.Errorf("it answers %s: redirects are not followed, set its final address", res.Status)
	case res.StatusCode == http.StatusRequestTimeout, res.StatusCode == http.StatusTooEarly, res.StatusCode == http.StatusTooManyRequests, res.StatusCode >= 500:
		f.after = retryAfter(res.Header.Get("Retry-After"), now)
	default:
		f.refused = true
	}
	return f
}

// retryAfter reads seconds or a date (RFC 9110 §10.2.3); what is neither is 0.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter) //nolint:gosec // G115: 31 bits
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
