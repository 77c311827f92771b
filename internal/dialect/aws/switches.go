package aws

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// The window before a deletion, in days. The model's bounds are wider than the service's.
const (
	leastWindow = 7
	mostWindow  = 30
	usualWindow = 30
)

// EnableKey lets a key work again.
func (x *exchange) EnableKey(ctx context.Context, in *EnableKeyInput) (*nothing, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	suspended := false
	k := x.admit(func(_ *exchange, k *seen) *fault {
		suspended = k.SwitchNow() == kms.SuspendedKey // which shows as Disabled
		return nil
	})
	_, err = x.engine.EnableKey(ctx, x.call, engine.KeyInput{Key: key})
	if suspended && kms.CodeOf(err) == kms.CodeKeySuspended {
		_, err = x.engine.ResumeKey(ctx, x.call, engine.KeyInput{Key: key})
	}
	return nil, k.or(err)
}

// DisableKey stops every use of a key.
func (x *exchange) DisableKey(ctx context.Context, in *DisableKeyInput) (*nothing, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	k := x.admit()
	_, err = x.engine.DisableKey(ctx, x.call, engine.KeyInput{Key: key})
	return nil, k.or(err)
}

// ScheduleKeyDeletion begins the window at whose end a key is destroyed. What its destruction reaches is looked at first, and recorded: clients of AWS do not
// know that it has to be.
func (x *exchange) ScheduleKeyDeletion(ctx context.Context, in *ScheduleKeyDeletionInput) (*ScheduleKeyDeletionOutput, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	window := int32(limitOf(in.PendingWindowInDays, usualWindow)) //nolint:gosec // G115: the model's bounds are narrower
	var p problems
	p.span("pendingWindowInDays", window, leastWindow, mostWindow)
	if f := p.err(); f != nil {
		return nil, f
	}
	k := x.admit()
	ask := engine.DestroyInput{Key: key, Window: days(window)}
	out, err := x.engine.ScheduleKeyDestruction(ctx, x.call, ask)
	if kms.CodeOf(err) == kms.CodeAssessment {
		if _, err = x.engine.AssessKey(ctx, x.call, engine.AssessInput{Key: key}); err == nil {
			out, err = x.engine.ScheduleKeyDestruction(ctx, x.call, ask)
		}
	}
	if err != nil {
		return nil, k.or(err)
	}
	return &ScheduleKeyDeletionOutput{
		KeyId: x.keyARN(out.Key.ID), DeletionDate: out.Key.DestroyAt, KeyState: stateOf(&out.Key, nil, time.Now()), PendingWindowInDays: Int{Set: true, Value: window},
	}, nil
}

// CancelKeyDeletion saves a key. It is disabled then.
func (x *exchange) CancelKeyDeletion(ctx context.Context, in *CancelKeyDeletionInput) (*CancelKeyDeletionOutput, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	k := x.admit(func(x *exchange, k *seen) *fault {
		if k.SwitchNow() == kms.PendingDestruction {
			return nil
		}
		return newFault(invalidState, x.keyARN(k.ID)+" is not pending deletion.")
	})
	out, err := x.engine.CancelKeyDestruction(ctx, x.call, engine.CancelInput{Key: key, Disable: true})
	if err != nil {
		return nil, k.or(err)
	}
	return &CancelKeyDeletionOutput{KeyId: x.keyARN(out.Key.ID)}, nil
}
