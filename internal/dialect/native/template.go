package native

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// inventoryService is keyhold.v1.InventoryService; the inventory itself is in inventory.go.
type inventoryService struct{ engine *engine.Engine }

func templateAnswer(out engine.TemplateOutput, err error) (*connect.Response[keyholdv1.TemplateResponse], error) {
	return answer(&keyholdv1.TemplateResponse{Template: templateMessage(&out.Template)}, err)
}

func templateMessage(t *engine.TemplateInfo) *keyholdv1.Template {
	m := &keyholdv1.Template{
		Name: t.Name, Description: t.Description, DataClass: t.Class, DefaultOfClass: t.Default, Bytes: uint32(t.Bytes), //nolint:gosec // G115: a short length
		Cryptoperiod: periodMessage(t.Period), Freeze: t.Freeze, ProcessDeactivated: t.ProcessDeactivated, Exportable: t.Exportable,
		Labels: t.Labels, Required: t.Required, Locked: t.Locked, DestructionWindow: spanMessage(t.Window.Duration()), MinimumDestructionWindow: spanMessage(t.MinWindow.Duration()),
		ChangedAt: stamp(t.Changed), ChangedBy: t.By, Revision: uint64(t.Rev),
	}
	if t.Algorithm != 0 {
		m.Algorithm = t.Algorithm.String()
	}
	if t.Usage != 0 {
		m.Usage = t.Usage.String()
	}
	return m
}

// spanMessage is a duration; 0 is not set.
func spanMessage(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

func templateOf(m *keyholdv1.Template) (t engine.TemplateInfo, err error) {
	if m == nil {
		return t, kms.Errorf(kms.CodeBadRequest, "the request holds no template")
	}
	t = engine.TemplateInfo{
		Name: m.GetName(), Description: m.GetDescription(), Class: m.GetDataClass(), Default: m.GetDefaultOfClass(), Bytes: int(m.GetBytes()),
		Freeze: m.GetFreeze(), ProcessDeactivated: m.GetProcessDeactivated(), Exportable: m.GetExportable(),
		Labels: m.GetLabels(), Required: m.GetRequired(), Locked: m.GetLocked(),
	}
	if m.GetAlgorithm() != "" {
		if t.Algorithm, err = kms.ParseAlgorithm(m.GetAlgorithm()); err != nil {
			return t, err
		}
	}
	if t.Usage, err = kms.ParseUsage(m.GetUsage()); err != nil {
		return t, err
	}
	p, err := periodIf(m.GetCryptoperiod())
	if err != nil {
		return t, err
	}
	if p != nil {
		t.Period = *p
	}
	if t.Window, err = wholeSeconds(m.GetDestructionWindow(), "destruction_window"); err != nil {
		return t, err
	}
	t.MinWindow, err = wholeSeconds(m.GetMinimumDestructionWindow(), "minimum_destruction_window")
	return t, err
}

func (s inventoryService) PutTemplate(ctx context.Context, r *connect.Request[keyholdv1.PutTemplateRequest]) (*connect.Response[keyholdv1.TemplateResponse], error) {
	t, err := templateOf(r.Msg.GetTemplate())
	if err != nil {
		return nil, err
	}
	return templateAnswer(s.engine.PutTemplate(ctx, callOf(ctx), engine.PutTemplateInput{Template: t, New: r.Msg.GetOnlyNew()}))
}

func (s inventoryService) GetTemplate(ctx context.Context, r *connect.Request[keyholdv1.GetTemplateRequest]) (*connect.Response[keyholdv1.TemplateResponse], error) {
	return templateAnswer(s.engine.GetTemplate(ctx, callOf(ctx), engine.TemplateInput{Name: r.Msg.GetName()}))
}

func (s inventoryService) ListTemplates(ctx context.Context, r *connect.Request[keyholdv1.ListTemplatesRequest]) (*connect.Response[keyholdv1.ListTemplatesResponse], error) {
	out, err := s.engine.ListTemplates(ctx, callOf(ctx), page(r.Msg.GetPageSize(), r.Msg.GetPageToken()))
	return answer(&keyholdv1.ListTemplatesResponse{Templates: each(out.Templates, templateMessage), NextPageToken: out.Next}, err)
}

func (s inventoryService) DeleteTemplate(ctx context.Context, r *connect.Request[keyholdv1.DeleteTemplateRequest]) (*connect.Response[keyholdv1.TemplateResponse], error) {
	return templateAnswer(s.engine.DeleteTemplate(ctx, callOf(ctx), engine.TemplateInput{Name: r.Msg.GetName()}))
}
