package client

import (
	"context"
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
