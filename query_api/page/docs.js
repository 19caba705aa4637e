// The API pages: Swagger UI over the service's own document, which tries out requests on the service itself.
window.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
});
