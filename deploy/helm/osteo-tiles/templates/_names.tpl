{{/* The labels by which the pods of this release are found. */}}
{{- define "osteo-tiles.selector" -}}
app.kubernetes.io/name: osteo-tiles
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "osteo-tiles.pods" -}}
{{ include "osteo-tiles.selector" . }}
app.kubernetes.io/component: service
{{- end }}

{{- define "osteo-tiles.labels" -}}
{{ include "osteo-tiles.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "osteo-tiles.image" -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}

{{- define "osteo-tiles.settings" -}}
{{- $settings := deepCopy .Values.settings -}}
{{- if .Values.audit.secret }}{{ $_ := set $settings "OSTEO_AUDIT" "required" }}{{ end -}}
{{- toYaml $settings }}
{{- end }}

{{/* Name of the settings. It ends with a hash, so that a change replaces the pods: the hash of kustomize,
     which leaves out the name. */}}
{{- define "osteo-tiles.settingsName" -}}
{{- $hashed := dict "data" (include "osteo-tiles.settings" . | fromYaml) "kind" "ConfigMap" "name" "" -}}
{{- $hash := $hashed | toJson | sha256sum | trunc 10 -}}
{{- range $from, $to := dict "0" "g" "1" "h" "3" "k" "a" "m" "e" "t" }}{{ $hash = replace $from $to $hash }}{{ end -}}
{{ .Release.Name }}-settings-{{ $hash }}
{{- end }}
