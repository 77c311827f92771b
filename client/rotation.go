package client

import (
	"context"
	"iter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// RotateKeyTo makes a new primary version of another algorithm that serves the same usage, at once. What older versions made goes on opening.
func (c *Client) RotateKeyTo(ctx context.Context, key, algorithm string, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.RotateKey, &keyholdv1.RotateKeyRequest{Key: key, Algorithm: algorithm}, changes, options))
}

// ScheduleRotation sets when a key is rotated by itself, and how much one version may protect; a zero Cryptoperiod ends both.
func (c *Client) ScheduleRotation(ctx context.Context, key string, p Cryptoperiod, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.ScheduleRotation, &keyholdv1.ScheduleRotationRequest{Key: key, Cryptoperiod: ofPeriod(p)}, changes, options))
}

// RotationStatus is how it stands with the rotation of one key. Its JSON form is stable.
type RotationStatus struct {
	Key            Key       `json:"key"`
	Missed         bool      `json:"missed"` // its date has passed by more than an hour, and it was not rotated
	FailedAttempts uint32    `json:"failed_attempts,omitempty"`
	RetryAt        time.Time `json:"retry_at,omitzero"`
	Failure        string    `json:"failure,omitempty"`         // why the last attempt failed; told to callers that may rotate the key
	SelfTest       string    `json:"self_test"`                 // of the primary version, now: "passed", "failed" or "none" (there is no material to test)
	SelfTestError  string    `json:"self_test_error,omitempty"` // its code, and the whole text for callers that may rotate the key
	Operations     uint64    `json:"operations,omitempty"`      // that the primary version protected, of keys with limits; what is reserved ahead counts
	Bytes          uint64    `json:"bytes,omitempty"`
}

// ReportRotations goes through the keys that the caller may describe and whose name begins with a prefix, in order of creation: when each was rotated and is due, what
// was missed or failed, and whether its primary version, opened anew, opens what it made at its birth.
func (c *Client) ReportRotations(ctx context.Context, prefix string, options ...Option) iter.Seq2[RotationStatus, error] {
	return pages(func(token string) ([]RotationStatus, string, error) {
		res, err := invoke(ctx, c, c.keys.ReportRotations, &keyholdv1.ReportRotationsRequest{NamePrefix: prefix, PageToken: token}, reads, options)
		return each(res.GetRotations(), toRotation), res.GetNextPageToken(), err
	})
}

func toRotation(r *keyholdv1.RotationStatus) RotationStatus {
	return RotationStatus{
		Key: toKey(r.GetKey()), Missed: r.GetMissed(), FailedAttempts: r.GetFailedAttempts(), RetryAt: timeOf(r.GetRetryAt()), Failure: r.GetFailure(),
		SelfTest: r.GetSelfTest(), SelfTestError: r.GetSelfTestError(), Operations: r.GetOperations(), Bytes: r.GetBytes(),
	}
}

func ofPeriod(p Cryptoperiod) *keyholdv1.Cryptoperiod {
	if p == (Cryptoperiod{}) {
		return nil
	}
	m := &keyholdv1.Cryptoperiod{Calendar: p.Calendar, Operations: p.Operations, Bytes: p.Bytes}
	if p.EverySeconds != 0 {
		m.Every = durationpb.New(time.Duration(p.EverySeconds) * time.Second)
	}
	if p.JitterSeconds != 0 {
		m.Jitter = durationpb.New(time.Duration(p.JitterSeconds) * time.Second)
	}
	return m
}
